"""Means over queries and what another sample of them would have given: the percentile bootstrap (Efron 1979; certainty: textbook)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.intervals import Codes

Floats = NDArray[np.float64]

CLUSTERS = 4096  # at most so many units are resampled; more queries are put together in turn
_AT_ONCE = 100


def means(values: Floats) -> Floats:
    """(measures,) means of the known values of (queries, measures); NaN where there is none."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    summed = np.where(known, values, 0.0).sum(axis=0)
    found: Floats = np.divide(summed, count, out=np.full(values.shape[1], np.nan), where=count > 0)
    return found


def resampled_means(values: Floats, resamples: int, seed: int, stream: int, clusters: Codes | None = None) -> Floats:
    """Means of resampled queries, or of resampled clusters of them.

    Args:
        values: (queries, measures), NaN where a measure says nothing of a query; the queries in an order of their own, as by id.
        resamples: how often queries are drawn, with replacement.
        seed: of the drawing.
        stream: another number draws independently.
        clusters: (queries,) code of each query's group: groups are drawn, since their queries are alike; none: queries are.

    Returns:
        (resamples, measures); NaN where a sample has no known value.
    """
    if not len(values):
        return np.full((resamples, values.shape[1]), np.nan)
    known = ~np.isnan(values)
    place = (np.arange(len(values)) if clusters is None else np.unique(clusters, return_inverse=True)[1]) % CLUSTERS
    units = int(place.max()) + 1
    sums, counts = np.zeros((units, values.shape[1])), np.zeros((units, values.shape[1]))
    np.add.at(sums, place, np.where(known, values, 0.0))
    np.add.at(counts, place, known.astype(np.float64))
    generator = np.random.Generator(np.random.PCG64([seed, stream]))
    share = np.full(units, 1 / units)
    made = []
    for start in range(0, resamples, _AT_ONCE):
        weights = generator.multinomial(units, share, size=min(_AT_ONCE, resamples - start)).astype(np.float64)
        count = weights @ counts
        made.append(np.divide(weights @ sums, count, out=np.full(count.shape, np.nan), where=count > 0))
    return np.concatenate(made)


def bounds(drawn: Floats, confidence: float) -> tuple[Floats, Floats]:
    """(low, high), each (measures,), of (resamples, measures); NaN where nothing is known."""
    alpha = (1 - confidence) / 2
    found = np.full((2, drawn.shape[1]), np.nan)
    known = ~np.isnan(drawn)
    for column in np.flatnonzero(known.any(axis=0)):
        found[:, column] = np.quantile(drawn[known[:, column], column], (alpha, 1 - alpha))
    return found[0], found[1]
