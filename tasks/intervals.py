"""Intervals for rates whose pairs are correlated: queries, or groups of queries, are the independent units.

Two kinds. :func:`proportion` is for shares of pairs; its ends are those of Wilson's interval at an effective number of pairs, so that few
or no leaks do not give [0, 0]. :func:`bootstrap` resamples clusters and is for ratios that are no share. How often each covers is in
docs/decisions/0016-intervals.md.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from tasks.bootstrap import resampled as resampled
from tasks.errors import InputError
from tasks.quantiles import student_quantile
from tasks.settings import Settings

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

CORRELATION = 0.3  # within a query, assumed where the data cannot tell
PRIOR_WEIGHT = 2.0  # that assumption weighs as much as so many clusters with the rarer outcome


class Interval(Settings):
    """An estimate and how sure it is."""

    estimate: float
    low: float
    high: float
    level: float = Field(0.95, gt=0, lt=1, description="Confidence of the two-sided interval.")
    method: str = Field(description="How the ends were found.")
    n_clusters: int = Field(ge=0, description="Independent units: queries, or groups of them.")
    n: int = Field(ge=0, description="Pairs, or what else was counted.")

    def times(self, factor: float) -> Interval:
        """The same for a known multiple."""
        return self.model_copy(update={name: getattr(self, name) * factor for name in ("estimate", "low", "high")})


def codes(ids: ArrayLike | pa.Array | pa.ChunkedArray) -> Codes:
    """Whole numbers from 0 for ids, in the order of the sorted ids; NULL is refused.

    >>> codes(pa.array(["b", "a", "b"])).tolist()
    [1, 0, 1]
    """
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    if isinstance(ids, pa.Array):
        if ids.null_count:
            raise InputError(f"{ids.null_count} ids are NULL", "give every row its query")
        encoded = ids.dictionary_encode()
        order = np.argsort(np.array(encoded.dictionary.to_pylist(), dtype=object), kind="stable")
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        return np.asarray(place[encoded.indices.to_numpy(zero_copy_only=False)], dtype=np.int64)
    return np.unique(np.asarray(ids), return_inverse=True)[1].astype(np.int64).ravel()


def clusters(table: pa.Table) -> Codes:
    """Code of each row's group, or of its query where it has none or the table has no column ``group``."""
    if "group" not in table.column_names:
        return codes(table["query_id"])
    alone = pc.binary_join_element_wise("query", table["query_id"].cast(pa.string()), ":")
    together = pc.binary_join_element_wise("group", table["group"].cast(pa.string()), ":")
    return codes(pc.coalesce(together, alone))


def by_cluster(values: ArrayLike, clusters: Codes | None) -> Floats:
    """Sums of rows a cluster, float64 (clusters,); without clusters every row is one."""
    rows = np.asarray(values, dtype=np.float64)
    if clusters is None:
        return rows
    if len(clusters) != len(rows):
        raise InputError(f"{len(rows)} values but {len(clusters)} cluster ids", "give one cluster id a row")
    return np.asarray(np.bincount(clusters, rows), dtype=np.float64)


def proportion(numerators: ArrayLike, denominators: ArrayLike, clusters: Codes | None = None, level: float = 0.95) -> Interval:
    """Σ numerator ÷ Σ denominator for counts of pairs, by cluster.

    The variance is that of the ratio over clusters (what a bootstrap over queries tends to with many resamples; Cochran 1977, 6.3), turned
    into an effective number of pairs. Where leaks are rare that variance is itself a guess: it is mixed with the one at an intra-query
    correlation of 0.3. The ends are Wilson's (1927) at that number, with Student's quantile (after Franco et al. 2019; the mixture is our
    own).

    Args:
        numerators: (rows,) pairs with the outcome, 0 ≤ numerator ≤ denominator.
        denominators: (rows,) pairs.
        clusters: (rows,) query or group of each row; none: a row is a cluster.
        level: confidence.

    Raises:
        InputError: no pairs, or a numerator outside its range.
    """
    top, bottom = by_cluster(numerators, clusters), by_cluster(denominators, clusters)
    top, bottom = top[bottom > 0], bottom[bottom > 0]
    total = bottom.sum()
    if not total:
        raise InputError("there are no pairs to count", "measure on queries that have emitted pairs")
    if (top < 0).any() or (top > bottom + 1e-9).any():
        raise InputError("a numerator is not between 0 and its denominator", "use bootstrap() for ratios that are no share")
    share = float(top.sum() / total)
    spread = variance((top - share * bottom) / total)
    evidence = min(int((top > 0).sum()), int((top < bottom).sum()))
    assumed = total / (1 + ((bottom**2).sum() / total - 1) * CORRELATION)
    size = mixed_size(effective_size(share, spread), max(assumed, 1.0), evidence, PRIOR_WEIGHT)
    low, high = wilson_ends(share, size, student_quantile(0.5 + level / 2, max(len(top) - 1, 1)))
    return Interval(estimate=share, low=low, high=high, level=level, method="wilson over clusters", n_clusters=len(top), n=round(total))


def bootstrap(
    numerators: ArrayLike,
    denominators: ArrayLike,
    clusters: Codes | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    method: Literal["percentile", "bca"] = "percentile",
) -> Interval:
    """Bootstrap over clusters of Σ numerator ÷ Σ denominator (Efron 1979; BCa: Efron 1987).

    Args:
        numerators: (rows,) of any sign and size.
        denominators: (rows,) not negative.
        clusters: (rows,) query or group of each row; none: a row is a cluster.
        level: confidence.
        resamples: how often.
        seed: of the resampling.
        method: percentile, or with bias and skewness corrected.

    Raises:
        InputError: all denominators are 0.
    """
    top, bottom = by_cluster(numerators, clusters), by_cluster(denominators, clusters)
    if not bottom.sum() > 0:
        raise InputError("all denominators are 0", "measure on queries that have pairs")
    ratio = float(top.sum() / bottom.sum())
    draws = resampled(np.stack([top, bottom], axis=1), resamples, seed)
    ratios = draws[:, 0][draws[:, 1] > 0] / draws[:, 1][draws[:, 1] > 0]
    tails = np.array([0.5 - level / 2, 0.5 + level / 2])
    if method == "bca":
        tails = _corrected(tails, ratios, ratio, top, bottom)
    low, high = np.quantile(ratios, tails)
    return Interval(
        estimate=ratio, low=low, high=high, level=level, method=f"{method} bootstrap", n_clusters=len(top), n=round(bottom.sum())
    )


def variance(contributions: Floats) -> Any:
    """Variance of an estimate from what each cluster adds to it, shape (clusters,) or (clusters, columns); the contributions sum to 0."""
    size = len(contributions)
    return (contributions**2).sum(axis=0) * (size / (size - 1) if size > 1 else 1.0)


def effective_size(share: float, spread: float) -> float:
    """How many independent draws have this variance; infinite where there is none."""
    return share * (1 - share) / spread if spread > 0 else float("inf")


def mixed_size(seen: float, assumed: float, evidence: float, weight: float) -> float:
    """Effective size from what was seen and what is assumed: their harmonic mean, weighted with ``evidence`` and ``weight``.

    >>> mixed_size(50.0, 100.0, evidence=2, weight=2)
    66.66666666666667
    """
    if not evidence:
        return assumed
    return (evidence + weight) / (evidence / seen + weight / assumed)


def wilson_ends(share: float, size: float, quantile: float) -> tuple[float, float]:
    """Wilson's (1927) ends for a share of ``size`` independent draws.

    >>> tuple(round(end, 4) for end in wilson_ends(0.0, 10, 1.96))
    (0.0, 0.2775)
    """
    square = quantile**2 / size
    centre = share + square / 2
    half = quantile * ((share * (1 - share) + square / 4) / size) ** 0.5
    low, high = (centre - half) / (1 + square), (centre + half) / (1 + square)
    return (0.0 if share <= 0 else max(low, 0.0)), (1.0 if share >= 1 else min(high, 1.0))


def _corrected(tails: Floats, ratios: Floats, ratio: float, top: Floats, bottom: Floats) -> Floats:
    normal = NormalDist()
    below = ((ratios < ratio).mean() + (ratios <= ratio).mean()) / 2
    if not 0 < below < 1 or len(top) < 2:
        return tails
    bias = normal.inv_cdf(float(below))
    rest = bottom.sum() - bottom
    left_out = np.divide(top.sum() - top, rest, out=np.full_like(rest, ratio), where=rest > 0)
    away = left_out.mean() - left_out
    scale = ((away**2).sum()) ** 1.5
    skew = float((away**3).sum() / (6 * scale)) if scale > 0 else 0.0
    shifted = [bias + normal.inv_cdf(float(tail)) for tail in tails]
    return np.array([normal.cdf(bias + value / (1 - skew * value)) for value in shifted])
