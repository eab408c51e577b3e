"""The teacher calibrated on a reviewed probability sample of this round: its probabilities may be added up to counts.

Reviewed pairs weigh 1/π, so that they stand for all that the recipes emitted. Planted positives, labels of the collection, pseudo-positives
and promoted pairs take no part: what calibrates is what reviewers said of drawn pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.calibration import Calibration, Source
from tasks.intervals import Floats
from tasks.truth.calibration import fit
from tasks.truth.frame import RELEVANT, Frame
from tasks.truth.reliability import Reliability, auc, reliability, verdict
from tasks.truth.review import out_of_fold
from tasks.truth.reviewed import Reviewed, score_column
from tasks.truth.selected import Selected
from tasks.truth.settings import CalibrationSettings, ReviewSettings

LABELS = "held-out labels"
REVIEW: Source = "review"


@dataclass(frozen=True)
class OnReview:
    """A teacher's calibration on a review.

    Args:
        fitted: on all reviewed pairs that the teacher scored.
        probability: (candidates,) to be relevant; of each query by a calibration that saw no label of its fold. A candidate without a
            teacher's score has the share of the reviewed ones without a score.
        fit: probabilities of the reviewed pairs, out of fold, beside their labels; the AUC is that of the logits.
    """

    fitted: Calibration
    probability: Floats
    fit: Reliability

    @property
    def facts(self) -> dict[str, Any]:
        """What is kept of it in the stage's meta."""
        found = self.fit
        facts = {name: getattr(found, name) for name in ("auc", "brier", "ece", "verdict")}
        return {
            **facts,
            "positives": self.fitted.n_relevant,
            "pairs": self.fitted.n,
            "source": self.fitted.source,
            "kind": self.fitted.kind,
        }


def on_review(
    selected: Selected, reviewed: Reviewed | None, settings: ReviewSettings, calibration: CalibrationSettings | None = None
) -> OnReview | None:
    """The calibration; none without a teacher, with too few sure answers (``calibrate_from``), or with answers of one kind only."""
    sample = reviewed.answers if reviewed is not None else None
    if sample is None or score_column(selected) != "teacher_logit":
        return None
    score, label, weight = selected.score("teacher_logit"), sample.labels == RELEVANT, 1 / sample.inclusion
    known = np.isfinite(score[sample.rows])
    if known.sum() < settings.calibrate_from or label[known].all() or not label[known].any():
        return None
    every = np.ones((len(score), 1), dtype=bool)
    frame = Frame(("all",), every, selected.groups[selected.query], score)
    probability = out_of_fold(frame, sample, settings)
    logits = score[sample.rows][known]
    fitted = fit(logits, label[known], weight[known], settings.calibration, REVIEW)
    calibration = calibration or CalibrationSettings()
    found = reliability(probability[sample.rows][known], label[known], weight[known], calibration)
    curve = auc(logits, label[known], weight[known])
    return OnReview(fitted, probability, found.model_copy(update={"auc": curve, "verdict": verdict(curve, calibration)}))


def checks(
    selected: Selected,
    reviewed: Reviewed | None,
    own: OnReview | None,
    design: tuple[float, float] | None,
    calibration: CalibrationSettings | None = None,
) -> Iterator[dict[str, Any]]:
    """Relevant negatives as the teacher expects them, beside those that reviewers found, within what this selection emitted.

    Both are sums over the reviewed negatives that the teacher scored, weighted with 1/π: estimates of counts.

    Args:
        selected: the selection.
        reviewed: a review of it, or none.
        own: the calibration on that review, or none.
        design: ends of the rate that the labels alone give, for the interval of what was found.
        calibration: bins, and the AUC under which a teacher cannot tell.

    Yields:
        calibration (``held-out labels`` or ``review``), pairs, emitted (that they stand for), expected, observed, low, high, brier, ece,
        auc, verdict.
    """
    sample = reviewed.answers if reviewed is not None else None
    if reviewed is None or sample is None:
        return
    within = reviewed.within[sample.rows]
    by = {LABELS: selected.score("teacher_calibrated"), REVIEW: own.probability if own is not None else None}
    for name, probability in by.items():
        if probability is None:
            continue
        likely = probability[sample.rows]
        use = within & np.isfinite(likely) & np.isfinite(selected.score("teacher_logit")[sample.rows])
        if not use.any():
            continue
        weight = 1 / sample.inclusion[use]
        found = reliability(likely[use], sample.labels[use] == RELEVANT, weight, calibration)
        total = float(weight.sum())
        ends = (design[0] * total, design[1] * total) if design is not None else (None, None)
        yield {
            "calibration": name,
            "pairs": found.n,
            "emitted": total,
            "expected": found.expected,
            "observed": found.observed,
            "low": ends[0],
            "high": ends[1],
            **{name: getattr(found, name) for name in ("brier", "ece", "auc", "verdict")},
        }
