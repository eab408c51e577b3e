"""Leak of each recipe from one reviewed probability sample (design-based; Särndal, Swensson and Wretman 1992).

Two estimates stand side by side. *Design*: the relevant share of the reviewed pairs, each weighted with 1/π (Hájek 1971). *Assisted*: the
mean calibrated probability over all emitted pairs, plus the weighted mean of label − probability over the reviewed (the difference
estimator); a teacher that is wrong costs width, not truth. The calibration is fitted on the review itself, but a query's pairs never
calibrate their own probabilities (folds by query).

Intervals: the variance of the residuals, centred in their strata (the sampling design) and summed over queries (their correlation): what
a bootstrap of queries within strata tends to. Where few leaks were seen, it is mixed with the variance that the calibrated probabilities
predict. The ends are Wilson's at the effective size that this variance stands for. coverage.py measures how often they cover.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tasks.errors import InputError
from tasks.intervals import (
    Codes,
    Floats,
    Interval,
    codes,
    effective_size,
    mixed_size,
    variance,
    wilson_ends,
)
from tasks.quantiles import student_quantile
from tasks.settings import Settings
from tasks.truth.calibration import apply, fit
from tasks.truth.frame import RELEVANT, UNSURE, Frame, Sample, answered, only
from tasks.truth.settings import ReviewSettings


class Leak(Settings):
    """What a review says about one recipe's negatives.

    An estimate below 0 or above 1 is set to 0 or 1. ``assisted`` and ``design`` leave out the unsure pairs; ``none_relevant`` and
    ``all_relevant`` are ``assisted`` with them counted as not relevant and as relevant, and are equal to it where nobody was unsure;
    likewise ``design_none_relevant`` and ``design_all_relevant`` are ``design``.
    """

    recipe: str
    emitted: int = Field(description="Pairs that the recipe emitted.")
    reviewed: int = Field(description="Of them with an answer, the unsure among them.")
    relevant: int
    unsure: int
    expected: float = Field(description="Mean calibrated probability over the emitted pairs, out of fold.")
    assisted: Interval
    design: Interval
    none_relevant: Interval
    all_relevant: Interval
    design_none_relevant: Interval
    design_all_relevant: Interval

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the most that the leak may be, whatever the unsure pairs are, with the teacher's help."""
        return _outermost(self.assisted, self.none_relevant, self.all_relevant)

    @property
    def design_bounds(self) -> tuple[float, float]:
        """The same by the labels alone."""
        return _outermost(self.design, self.design_none_relevant, self.design_all_relevant)


def leaks(frame_: Frame, sample: Sample, settings: ReviewSettings | None = None, level: float = 0.95) -> list[Leak]:
    """The leak of each recipe, in the frame's order.

    Pairs without an answer are left out and their stratum's π shrinks by the share that was answered.

    Raises:
        InputError: nothing was answered, an inclusion probability is outside (0, 1], or a recipe has no answered pair.
    """
    settings = settings or ReviewSettings()
    sample = answered(sample)
    sure = sample.labels != UNSURE
    main = _estimates(frame_, answered(only(sample, sure)) if not sure.all() else sample, settings, level)
    none, every = main, main
    if not sure.all():
        none, every = (_estimates(frame_, replace(sample, labels=np.where(sure, sample.labels, kind)), settings, level) for kind in (0, 1))
    inside = frame_.members[sample.rows]
    counted = {kind: inside[sample.labels == kind].sum(axis=0) for kind in (RELEVANT, UNSURE)}
    return [
        Leak(
            recipe=name,
            emitted=int(frame_.members[:, at].sum()),
            reviewed=int(inside[:, at].sum()),
            relevant=int(counted[RELEVANT][at]),
            unsure=int(counted[UNSURE][at]),
            expected=main.expected[at],
            assisted=main.assisted[at],
            design=main.design[at],
            none_relevant=none.assisted[at],
            all_relevant=every.assisted[at],
            design_none_relevant=none.design[at],
            design_all_relevant=every.design[at],
        )
        for at, name in enumerate(frame_.recipes)
    ]


def _outermost(*found: Interval) -> tuple[float, float]:
    return min(one.low for one in found), max(one.high for one in found)


def out_of_fold(frame_: Frame, sample: Sample, settings: ReviewSettings) -> Floats:
    """Probability of every row of the frame, shape (rows,), from a calibration that saw no label of its query's fold."""
    fold = _fold(frame_.clusters, settings.folds)
    weight, label = 1 / sample.inclusion, sample.labels == RELEVANT
    score = np.zeros(len(fold)) if frame_.score is None else frame_.score
    probability = np.empty(len(fold))
    for number in range(settings.folds):
        train, rows = fold[sample.rows] != number, fold == number
        if not rows.any():
            continue
        if not train.any():
            train = np.ones_like(train)
        probability[rows] = calibrated(score[sample.rows][train], label[train], weight[train], score[rows], settings)
    return probability


def centred(contributions: Floats, stratum: Codes, inclusion: Floats) -> Floats:
    """Contributions of sampled rows, shape (n, recipes), less their stratum's mean and scaled.

    Their squares add up to the variance under stratified sampling without replacement. A stratum with a single draw keeps its
    contribution as it is.
    """
    place = codes(stratum)
    number = np.bincount(place).astype(np.float64)
    means = _sums(place, contributions) / number[:, None]
    means[number < 2] = 0.0
    scale = np.where(number < 2, 1.0, number / np.maximum(number - 1, 1.0))
    return np.asarray((contributions - means[place]) * np.sqrt(scale[place] * (1 - inclusion))[:, None])


@dataclass(frozen=True)
class _Estimates:
    assisted: list[Interval]
    design: list[Interval]
    expected: list[float]


def _estimates(frame_: Frame, sample: Sample, settings: ReviewSettings, level: float) -> _Estimates:
    inside = frame_.members[sample.rows].astype(np.float64)
    if not (inside.sum(axis=0) > 0).all():
        missing = frame_.recipes[int(np.argmin(inside.sum(axis=0)))]
        raise InputError(f"recipe {missing!r} has no reviewed pair", "review more pairs, or draw a sample that serves this recipe")
    label = (sample.labels == RELEVANT).astype(np.float64)
    probability = out_of_fold(frame_, sample, settings)
    weighted = inside / sample.inclusion[:, None]
    weighted /= weighted.sum(axis=0)
    expected = (probability @ frame_.members) / frame_.members.sum(axis=0)
    residual = label - probability[sample.rows]
    design, shift = label @ weighted, residual @ weighted
    clusters_ = codes(frame_.clusters[sample.rows])
    likely = probability[sample.rows]
    own = weighted**2 * (1 - sample.inclusion)[:, None] * (likely * (1 - likely))[:, None]
    between = _spread(weighted * (likely[:, None] - expected), sample, clusters_)
    reviewed, kish = inside.sum(axis=0), 1 / (weighted**2).sum(axis=0)
    number, strata = (_distinct(place, inside) for place in (clusters_, codes(sample.stratum)))
    ends = _Ends(frame_.members.sum(axis=0), label @ inside, reviewed, expected, kish, number, strata, settings, level)
    spreads = (
        (expected + shift, _spread(weighted * (residual[:, None] - shift), sample, clusters_), own.sum(axis=0)),
        (design, _spread(weighted * (label[:, None] - design), sample, clusters_), own.sum(axis=0) + between),
    )
    assisted, plain = (
        [ends.interval(at, share[at], seen[at], predicted[at]) for at in range(len(design))] for share, seen, predicted in spreads
    )
    return _Estimates(assisted=assisted, design=plain, expected=expected.tolist())


@dataclass(frozen=True)
class _Ends:
    """What the intervals of all recipes need.

    Emitted, relevant and reviewed pairs, mean probability, Kish's effective size; clusters and strata with a reviewed pair.
    """

    emitted: Codes
    relevant: Floats
    reviewed: Floats
    expected: Floats
    kish: Floats
    clusters: Codes
    strata: Codes
    settings: ReviewSettings
    level: float

    def interval(self, at: int, share: float, seen: float, predicted: float) -> Interval:
        """Ends for one recipe, from the variance that was seen and the one that is predicted."""
        number, edge = float(self.reviewed[at]), 0.5 / max(float(self.kish[at]), 1.0)
        bounded, level = float(np.clip(share, 0.0, 1.0)), self.level
        about: dict[str, Any] = {"estimate": bounded, "level": level, "n_clusters": int(self.clusters[at]), "n": int(number)}
        if number == self.emitted[at]:
            return Interval(low=bounded, high=bounded, method="census", **about)
        inner = float(np.clip(share, edge, 1 - edge))
        likely = float(np.clip(self.expected[at], 0.5 / (number + 1), 1 - 0.5 / (number + 1)))
        rare = min(self.relevant[at], number - self.relevant[at])
        size = _most(effective_size(inner, seen), number)
        size = mixed_size(size, _most(effective_size(likely, predicted), number), rare, self.settings.prior_weight)
        low, high = wilson_ends(bounded, size, student_quantile(0.5 + level / 2, self._freedom(at)))
        return Interval(low=low, high=high, method="wilson, stratified over clusters", **about)

    def _freedom(self, at: int) -> int:
        """Degrees of freedom of the variance: clusters less strata that hold a pair of the recipe (Korn and Graubard 1999).

        No less than half of the clusters: such a stratum holds other recipes' pairs too, which tell of its spread.
        """
        return max(int(self.clusters[at] - self.strata[at]), int(self.clusters[at]) // 2, 1)


def _most(size: float, number: float) -> float:
    """An effective size between 1 draw and 40 for each reviewed pair."""
    return min(max(size, 1.0), 40 * number)


def _spread(contributions: Floats, sample: Sample, clusters_: Codes) -> Any:
    return variance(_sums(clusters_, centred(contributions, sample.stratum, sample.inclusion)))


def _distinct(place: Codes, inside: Floats) -> Codes:
    """(recipes,) in how many places the rows of each lie."""
    return np.asarray((_sums(place, inside) > 0).sum(axis=0), dtype=np.int64)


def _sums(place: Codes, values: Floats) -> Floats:
    sums = np.zeros((int(place.max()) + 1, values.shape[1]))
    np.add.at(sums, place, values)
    return sums


def _fold(clusters_: Codes, folds: int) -> Codes:
    mixed = (clusters_.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return np.asarray((mixed >> np.uint64(33)) % np.uint64(folds), dtype=np.int64)


def calibrated(score: Floats, label: NDArray[np.bool_], weight: Floats, wanted: Floats, settings: ReviewSettings) -> Floats:
    """Probabilities of scores by a calibration on reviewed pairs; their sums estimate counts.

    Args:
        score: (n,) of the reviewed pairs, NaN where there is none.
        label: (n,) true where relevant.
        weight: (n,) inverse inclusion probabilities.
        wanted: (m,) scores; one without (NaN) gets the weighted share of the reviewed pairs without one, or of all.
        settings: kind of calibration.
    """
    known = np.isfinite(score)
    rest = ~known if (~known).any() else np.ones_like(known)
    other = (weight[rest] @ label[rest] + 0.5 * weight.mean()) / (weight[rest].sum() + weight.mean())
    if not known.any():
        return np.full(len(wanted), other)
    probability = apply(fit(score[known], label[known], weight[known], settings.calibration), np.where(np.isfinite(wanted), wanted, 0.0))
    return np.where(np.isfinite(wanted), probability, other)
