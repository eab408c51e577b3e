"""From a teacher's scores to probabilities: Platt's sigmoid or isotonic regression, kept as a few numbers.

A calibration on a reviewed probability sample gives probabilities that may be added up to counts. One on held-out labelled pairs against
sampled negatives does not: labels are positive-unlabelled, and the share of positives among the sampled is not that of the candidates. It
says so in its source.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tasks.calibration import Calibration as Calibration
from tasks.calibration import Kind, Source
from tasks.calibration import apply as apply
from tasks.errors import InputError
from tasks.intervals import Floats

Flags = NDArray[np.bool_]
Fitted = dict[str, Any]


def fit(
    score: ArrayLike, label: ArrayLike, weight: ArrayLike | None = None, kind: Kind = "platt", source: Source = "review"
) -> Calibration:
    """Fit on labelled scores.

    Platt (1999) with his smoothed targets, (r + 1)/(r + 2) and 1/(u + 2) for r relevant and u other labels, so that a clean split has a
    finite slope; a slope under 0 is set to 0. Isotonic (Zadrozny and Elkan 2002) gives exact 0 and 1 where labels agree. Labels all of one
    kind give a constant: (r + ½)/(n + 1).

    Args:
        score: (n,) finite; for Platt best a logit.
        label: (n,) true where relevant.
        weight: (n,) not negative, inverse inclusion probabilities; none: equal.
        kind: platt or isotonic.
        source: where the labels are from.

    Raises:
        InputError: no labels, unequal lengths, or a score or weight that is no number.
    """
    scores, labels = np.asarray(score, dtype=np.float64), np.asarray(label, dtype=bool)
    weights = np.ones(len(scores)) if weight is None else np.asarray(weight, dtype=np.float64)
    if not len(scores) or not len(scores) == len(labels) == len(weights):
        raise InputError(
            f"{len(scores)} scores, {len(labels)} labels and {len(weights)} weights", "give one of each for every pair, at least one"
        )
    if not np.isfinite(scores).all() or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise InputError("a score or weight is not a number", "leave out pairs that the teacher has not scored")
    about = {"kind": kind, "source": source, "n": len(labels), "n_relevant": int(labels.sum())}
    weights = weights / weights.mean()
    if labels.all() or not labels.any() or _equal(scores):
        return Calibration(**about, **_constant(kind, scores, labels, weights))
    return Calibration(**about, **(_platt if kind == "platt" else _isotonic)(scores, labels, weights))


def _equal(scores: Floats) -> bool:
    """Whether scores differ by rounding at most: no slope can be told from them."""
    return bool(np.ptp(scores) <= max(float(np.finfo(np.float32).tiny), float(np.finfo(np.float64).eps * np.abs(scores).max())))


def _platt(scores: Floats, labels: Flags, weights: Floats) -> Fitted:
    from sklearn.linear_model import LogisticRegression

    relevant = labels.sum()
    target = np.where(labels, (relevant + 1) / (relevant + 2), 1 / (len(labels) - relevant + 2))
    centre, scale = float(scores.mean()), float(scores.std())
    scaled = np.tile((scores - centre) / scale, 2)[:, None]
    model = LogisticRegression(C=1e6, max_iter=200)
    model.fit(scaled, np.repeat([1, 0], len(labels)), sample_weight=np.concatenate([weights * target, weights * (1 - target)]))
    slope = float(model.coef_[0, 0]) / scale
    if slope < 0:
        return _constant("platt", scores, labels, weights)
    return {"slope": slope, "intercept": float(model.intercept_[0]) - slope * centre}


def _isotonic(scores: Floats, labels: Flags, weights: Floats) -> Fitted:
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0.0, y_max=1.0).fit(scores, labels.astype(np.float64), sample_weight=weights)
    return {"knots": tuple(model.X_thresholds_.tolist()), "values": tuple(model.y_thresholds_.tolist())}


def _constant(kind: Kind, scores: Floats, labels: Flags, weights: Floats) -> Fitted:
    share = float((weights @ labels + 0.5) / (weights.sum() + 1))
    if kind == "platt":
        return {"intercept": float(np.log(share / (1 - share)))}
    return {"knots": (float(scores[0]),), "values": (share,)}
