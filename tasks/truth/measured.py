"""All estimators of one selection's false negatives, each as far as what it needs is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.intervals import Floats
from tasks.truth.estimates import Middle, Planted, Row, Target, planted_rows, share_rows
from tasks.truth.in_batch_rows import Known, in_batch_rows
from tasks.truth.judged import judgements, unknown_zeros, unreviewed
from tasks.truth.on_review import OnReview, on_review
from tasks.truth.reviewed import Reviewed, probabilities, review_rows, score_column
from tasks.truth.selected import Flags, Selected, flags, promoted
from tasks.truth.settings import EstimateSettings, SurvivalSettings
from tasks.truth.similar import Similar

_QRELS = ["query_id", "doc_id", "relevance"]
_LABELS_ONLY = "the teacher, calibrated on labels, not for counts"
_RAW = "the teacher, not calibrated"
_JUDGED = {
    "exhaustive": "counted: every relevant document is judged; explicit zeros are unknown",
    "trusted_zeros": "counted over judged pairs, explicit zeros as not relevant",
    "both": "counted: every relevant document is judged, explicit zeros as not relevant",
}
_SCORED = "; all three of pairs with {} score alone; what the calibration may be off by is not in the interval"
_OWN = {name: "; no unlabelled document is relevant, as declared" for name in ("exhaustive", "both")} | {"trusted_zeros": ""}


@dataclass(frozen=True)
class Measured:
    """What the estimators share.

    Args:
        selected: the selection.
        settings: of the stage.
        reviewed: a review of it, or none.
        own: the teacher's calibration on that review, or none.
        qrels: query_id, doc_id, relevance: the judgements; none, unless some are declared.
        judged: (queries,) which of them are judged.
        outside: whether the judgements are others than the round's own labels.
        probability: (candidates,) to be relevant, NaN: unknown; of partial candidates, that of the negatives alone.
        source: of the probability.
        can_tell: whether the teacher can tell relevant from not.
        similar: vectors of queries and documents, or none.
    """

    selected: Selected
    settings: EstimateSettings
    reviewed: Reviewed | None
    own: OnReview | None
    qrels: pa.Table | None
    judged: Flags
    outside: bool
    probability: Floats
    source: str
    can_tell: bool
    similar: Similar | None = None

    @classmethod
    def of(
        cls,
        selected: Selected,
        settings: EstimateSettings,
        reviewed: Reviewed | None,
        truth: pa.Table | None,
        queries: pa.Table | None,
        can_tell: bool,
        similar: Similar | None = None,
    ) -> Measured:
        """Find the judgements and the best probabilities.

        Args:
            selected: the selection.
            settings: ``judged`` says what the judgements mean.
            reviewed: a review of it, or none.
            truth: qrels; none: the round's labels.
            queries: query_id of the judged ones; none: those of the qrels.
            can_tell: whether the teacher can tell relevant from not, by the labels; a review knows better.
            similar: vectors of queries and documents, or none.
        """
        qrels = None
        if settings.judged != "none":
            # where zeros are unknown, what a reviewer called not relevant is as good as not listed: not relevant
            own = unreviewed(selected.scored) if settings.judged == "exhaustive" else selected.scored
            own = own.filter(pc.invert(promoted(own))).select(_QRELS)
            qrels = truth if truth is not None else own.filter(own["relevance"].is_valid())
        judged = np.zeros(selected.queries.num_rows, dtype=bool)
        if qrels is not None:
            ids = (queries if queries is not None else qrels)["query_id"].combine_chunks()
            judged = np.asarray(pc.is_in(selected.queries["query_id"], value_set=ids).to_numpy(), dtype=bool)
        own = on_review(selected, reviewed, settings.review, settings.calibration)
        if own is not None and own.fit.verdict != "unknown":
            can_tell = own.fit.verdict == "can tell"
        if reviewed is not None:
            probability, source = probabilities(selected, reviewed, settings.review), "the review"
        else:
            probability, source = selected.score("teacher_calibrated"), _LABELS_ONLY
        if settings.partial:
            probability = np.where(selected.emitted, probability, np.nan)
        return cls(selected, settings, reviewed, own, qrels, judged, truth is not None, probability, source, can_tell, similar)

    @property
    def relevant(self) -> pa.Table | None:
        """query_id, doc_id of relevant pairs, by exhaustive judgements; none without them."""
        if self.qrels is None or self.settings.judged not in ("exhaustive", "both"):
            return None
        return self.qrels.filter(pc.greater_equal(self.qrels["relevance"], self.settings.min_grade)).select(["query_id", "doc_id"])

    @property
    def unknown(self) -> pa.Table | None:
        """query_id, doc_id of the pairs of which exhaustive judgements say nothing: zeros that are not trusted.

        Beside the round's own labels promoted ones too: a teacher's word is no judgement.
        """
        kind = self.settings.judged
        if self.qrels is None or kind == "none":
            return None
        zeros, scored = unknown_zeros(self.qrels, kind), self.selected.scored
        return zeros if self.outside else pa.concat_tables([zeros, scored.filter(promoted(scored)).select(zeros.column_names)])


def estimates(given: Measured, probes: pa.Table | None) -> list[Row]:
    """Rows of :data:`tasks.schema.ESTIMATES`, by estimator; slice ``all`` first in each.

    Args:
        given: the selection and what is known of it.
        probes: :data:`tasks.schema.PROBES`, or none.
    """
    rows: list[Row] = []
    if probes is not None and probes.num_rows:
        survived, level = given.settings.survival, given.settings.level
        planted, target = Planted.of(given.selected, probes), _target(given, survived)
        rows += planted_rows(given.selected, planted, target, _middle(given, survived), survived, level)
    rows += _judged(given)
    if given.reviewed is not None and given.reviewed.sure:
        rows += review_rows(given.selected, given.reviewed, given.settings.review, given.settings.level)
    rows += _teacher(given)
    trusted = given.settings.judged in ("trusted_zeros", "both")
    known = Known(given.relevant, given.unknown, given.judged, given.probability, given.reviewed is not None, trusted, given.similar)
    rows += in_batch_rows(given.selected, known, given.settings)
    order = list(dict.fromkeys(one["estimator"] for one in rows))
    return sorted(rows, key=lambda one: order.index(one["estimator"]))


def headline(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """{estimator: [rate, low, high, pairs, note]}: the first row of each."""
    found: dict[str, list[Any]] = {}
    for one in rows:
        found.setdefault(one["estimator"], [one[name] for name in ("rate", "low", "high", "pairs", "note")])
    return found


def _target(given: Measured, settings: SurvivalSettings) -> Target | None:
    """What survival is weighted to; none by a teacher that cannot tell: the mix of what it calls relevant is that of all candidates."""
    if given.settings.partial or not given.can_tell:
        return None
    if np.isfinite(given.probability[given.selected.unlabelled]).any():
        return Target.of(given.selected, given.probability, f"by {given.source}", settings)
    raw = given.selected.score("teacher_sigmoid")
    if np.isfinite(raw[given.selected.unlabelled]).any():
        return Target.of(given.selected, raw, f"by {_RAW}", settings)
    return None


def _middle(given: Measured, settings: SurvivalSettings) -> Middle | None:
    """Unlabelled relevant documents a query: counted by judgements from outside, else expected by a review.

    A review's calibration tells of pairs with a score; of the others it knows their share among what was emitted, and most of what was
    retrieved is no such pair. So these are left out.
    """
    selected = given.selected
    if given.outside and given.relevant is not None:
        place = selected.find(given.relevant)
        relevant = np.zeros(selected.scored.num_rows, dtype=bool)
        relevant[place[place >= 0]] = True
        return Middle(selected.by_query(1.0, relevant & selected.unlabelled), given.judged, "judged")
    if given.reviewed is not None and not given.settings.partial:
        column = score_column(selected)
        within = selected.reach & np.isfinite(selected.score(column))
        expected = selected.by_query(given.probability, selected.unlabelled & within)
        target = Target.of(selected, np.where(within, given.probability, np.nan), "", settings) if given.can_tell else None
        note = _SCORED.format("the teacher's" if column == "teacher_logit" else "a dense")
        return Middle(expected, np.ones(len(expected), dtype=bool), "by the review's calibration", target, within, note)
    return None


def _judged(given: Measured) -> list[Row]:
    kind = given.settings.judged
    if given.qrels is None or kind == "none" or not given.judged.any():
        return []
    selected = given.selected
    negatives = selected.scored.select(["query_id", "doc_id"]).filter(pa.array(selected.emitted))
    asked = selected.queries.select(["query_id"]).filter(pa.array(given.judged))
    counted = judgements(negatives, given.qrels, kind, asked, given.settings.min_grade)
    place = pc.index_in(counted["query_id"], value_set=selected.queries["query_id"].combine_chunks()).to_numpy().astype(np.int64)
    size = selected.queries.num_rows
    top = np.bincount(place, flags(counted["relevant"]), size).astype(np.float64)
    bottom = np.bincount(place, minlength=size).astype(np.float64)
    every = np.where(given.judged, selected.by_query(1.0, selected.emitted), 0.0)
    return list(_bounded(selected, top, bottom, every, given.settings.level, _JUDGED[kind] + ("" if given.outside else _OWN[kind])))


def _bounded(selected: Selected, top: Floats, bottom: Floats, every: Floats, level: float, note: str) -> Iterator[Row]:
    """The counted share of the judged negatives; where some are not judged, with the ends as if none and as if all of these were relevant.

    Args:
        selected: the selection.
        top: (queries,) relevant ones.
        bottom: (queries,) judged ones.
        every: (queries,) negatives of judged queries.
        level: confidence.
        note: beside all rows.
    """
    ends = [share_rows(selected, "judged", found, every, level) for found in (top, top + every - bottom)]
    least, most = ({(one["slice"], one["value_of_slice"]): one for one in rows} for rows in ends)
    for one in share_rows(selected, "judged", top, bottom, level, note):
        place = (one["slice"], one["value_of_slice"])
        rest = most[place]["pairs"] - one["pairs"]
        if rest:
            told = f"{note}; {rest:,} of {most[place]['pairs']:,} negatives are not judged: the ends hold whatever they are"
            one |= {"low": min(one["low"], least[place]["low"]), "high": max(one["high"], most[place]["high"]), "note": told}
        yield one


def _teacher(given: Measured) -> list[Row]:
    selected = given.selected
    likely = selected.score("teacher_calibrated") if given.own is None else given.own.probability
    scored = selected.emitted & np.isfinite(likely)
    if not scored.any():
        return []
    note = f"mean probability by {_LABELS_ONLY}: no count of relevant negatives" if given.own is None else _by_review(given.own)
    missing = 1 - scored.sum() / selected.emitted.sum()
    note += f"; {missing:.0%} of the negatives have no score and are not in it" if missing > 0 else ""
    note += "; this teacher cannot tell relevant from not" if not given.can_tell else ""
    top, bottom = selected.by_query(np.nan_to_num(likely), scored), selected.by_query(1.0, scored)
    return share_rows(selected, "calibrated_teacher", top, bottom, given.settings.level, note)


def _by_review(own: OnReview) -> str:
    fitted = own.fitted
    return (
        f"mean probability by the teacher, calibrated on the review ({fitted.n_relevant} of {fitted.n} relevant), out of fold; "
        "what the calibration may be off by is not in the interval"
    )
