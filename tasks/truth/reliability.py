"""How good a teacher's probabilities are: reliability, Brier, AUC, calibration error, and whether it can tell at all."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from tasks.errors import InputError
from tasks.intervals import Floats
from tasks.settings import Settings
from tasks.truth.settings import CalibrationSettings

Verdict = Literal["can tell", "cannot tell", "unknown"]


class Bin(Settings):
    """Pairs whose probability lies in [low, high); the last bin has its upper end too."""

    low: float
    high: float
    n: int = Field(description="Labelled pairs.")
    share: float = Field(description="Their share by weight.")
    predicted: float = Field(description="Weighted mean probability.")
    observed: float = Field(description="Weighted share that is relevant.")


class Reliability(Settings):
    """Probabilities beside labels."""

    n: int
    n_relevant: int
    expected: float = Field(description="Σ weight × probability: how many relevant pairs the teacher expects.")
    observed: float = Field(description="Σ weight over the relevant.")
    brier: float = Field(description="Mean squared distance of probability and label (Brier 1950).")
    ece: float = Field(description="Mean distance of predicted and observed over the bins.")
    auc: float | None = Field(description="Chance that a relevant pair scores above another; none: labels of one kind only.")
    verdict: Verdict
    bins: tuple[Bin, ...]


def reliability(
    probability: ArrayLike, label: ArrayLike, weight: ArrayLike | None = None, settings: CalibrationSettings | None = None
) -> Reliability:
    """Compare probabilities with labels that did not make them.

    Args:
        probability: (n,) in [0, 1].
        label: (n,) true where relevant.
        weight: (n,) inverse inclusion probabilities; none: equal.
        settings: bins, and the AUC under which a teacher cannot tell.

    Raises:
        InputError: nothing to compare, or a probability outside [0, 1].
    """
    settings = settings or CalibrationSettings()
    likely, relevant = np.asarray(probability, dtype=np.float64), np.asarray(label, dtype=bool)
    weights = np.ones(len(likely)) if weight is None else np.asarray(weight, dtype=np.float64)
    if not len(likely) or not ((likely >= 0) & (likely <= 1)).all():
        raise InputError("there are no probabilities, or one is outside [0, 1]", "give calibrated scores of labelled pairs")
    bins = _bins(likely, relevant, weights, settings.bins)
    curve = auc(likely, relevant, weights)
    return Reliability(
        n=len(likely),
        n_relevant=int(relevant.sum()),
        expected=float(weights @ likely),
        observed=float(weights @ relevant),
        brier=float(weights @ (likely - relevant) ** 2 / weights.sum()),
        ece=float(sum(one.share * abs(one.predicted - one.observed) for one in bins)),
        auc=curve,
        verdict=verdict(curve, settings),
        bins=bins,
    )


def auc(score: ArrayLike, label: ArrayLike, weight: ArrayLike | None = None) -> float | None:
    """Area under the ROC curve, weighted; ties count half. None where labels are of one kind.

    >>> auc([0.1, 0.4, 0.4, 0.8], [False, True, False, True])
    0.875
    """
    relevant = np.asarray(label, dtype=bool)
    weights = np.ones(len(relevant)) if weight is None else np.asarray(weight, dtype=np.float64)
    _, level = np.unique(np.asarray(score, dtype=np.float64), return_inverse=True)
    positive = np.bincount(level.ravel(), weights * relevant)
    negative = np.bincount(level.ravel(), weights * ~relevant)
    total = positive.sum() * negative.sum()
    if not total > 0:
        return None
    return float((positive * (np.cumsum(negative) - negative / 2)).sum() / total)


def verdict(curve: float | None, settings: CalibrationSettings) -> Verdict:
    """Whether a teacher of this AUC can tell relevant from not."""
    if curve is None:
        return "unknown"
    return "can tell" if curve >= settings.auc_floor else "cannot tell"


def _bins(likely: Floats, relevant: NDArray[np.bool_], weights: Floats, count: int) -> tuple[Bin, ...]:
    place = np.minimum((likely * count).astype(np.int64), count - 1)
    total = np.bincount(place, weights, count)
    numbers = np.bincount(place, minlength=count)
    predicted, observed = np.bincount(place, weights * likely, count), np.bincount(place, weights * relevant, count)
    return tuple(
        Bin(
            low=at / count,
            high=(at + 1) / count,
            n=int(numbers[at]),
            share=float(total[at] / weights.sum()),
            predicted=float(predicted[at] / total[at]),
            observed=float(observed[at] / total[at]),
        )
        for at in range(count)
        if total[at] > 0
    )
