"""Intervals for rates whose pairs are correlated: the bootstrap over queries."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tasks.bootstrap import CLUSTERS as CLUSTERS
from tasks.bootstrap import Floats as Floats
from tasks.bootstrap import in_clusters as in_clusters
from tasks.bootstrap import resampled


def bootstrap(
    numerators: npt.ArrayLike, denominators: npt.ArrayLike, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> tuple[Floats, Floats]:
    """Percentile interval of Σ numerator ÷ Σ denominator, by resampling queries (Efron 1979).

    Negatives of one query are correlated, so queries are drawn, not pairs. The same seed draws the same queries for every recipe.
    Where no query has a false negative the bootstrap would be certain of 0; there the upper end is 1 − α^(1/Q) with α = (1 − confidence)/2,
    the share of leaking queries under which seeing none of Q still has probability α.

    Args:
        numerators: per query, shape (queries,) or (queries, columns); not negative.
        denominators: of the same shape.
        resamples: how often.
        confidence: of the two-sided interval.
        seed: of the resampling.

    Returns:
        (low, high), float64 of shape () or (columns,), within the range of the ratios; NaN where all denominators are 0.
    """
    sums = [np.asarray(values, dtype=np.float64) for values in (numerators, denominators)]
    shape = sums[0].shape[1:]
    top, bottom = (in_clusters(values.reshape(len(values), math.prod(shape))) for values in sums)
    alpha = (1 - confidence) / 2
    bounds = np.full((2, top.shape[1]), np.nan)
    known = bottom.sum(axis=0) > 0
    if known.any():
        over, under = np.hsplit(resampled(np.hstack([top[:, known], bottom[:, known]]), resamples, seed), 2)
        ratios = np.divide(over, under, out=np.full_like(over, np.nan), where=under > 0)
        bounds[:, known] = np.nanquantile(ratios, (alpha, 1 - alpha), axis=0)
        unseen = known & (top.sum(axis=0) == 0)
        bounds[1, unseen] = 1 - alpha ** (1 / (bottom[:, unseen] > 0).sum(axis=0))
    return bounds[0].reshape(shape), bounds[1].reshape(shape)
