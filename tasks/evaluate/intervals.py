"""Means over queries, and what another sample of queries would have given: the bootstrap (Efron 1979)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.bootstrap import in_clusters, resampled
from tasks.errors import UsageError
from tasks.intervals import Codes

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean over queries with its percentile interval."""

    mean: float
    low: float
    high: float
    queries: int


@dataclass(frozen=True)
class Difference:
    """How the second evaluation differs from the first, query by query.

    Args:
        first: mean of the first.
        second: mean of the second.
        difference: second − first.
        low: of the difference's percentile interval.
        high: of the same.
        p: two-sided bootstrap p-value: twice the share of resamples whose difference has the other sign or is 0, at most 1.
        queries: that both have.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    queries: int


def intervals(
    values: Values, resamples: int = 1000, confidence: float = 0.95, seed: int = 0, clusters: Codes | None = None
) -> list[Interval]:
    """The mean of each column of ``values``, shape (queries, measures), with its interval; at least one query.

    Args:
        values: shape (queries, measures).
        resamples: how often queries are drawn.
        confidence: of the two-sided interval.
        seed: of the drawing.
        clusters: (queries,) code of each query's group: groups are drawn, since their queries are alike; none: queries are.
    """
    means = values.mean(axis=0)
    bounds = _bounds(resampled_means(values, resamples, seed, clusters), confidence)
    return [Interval(float(mean), float(low), float(high), len(values)) for mean, low, high in zip(means, *bounds, strict=True)]


def summary(
    names: Sequence[str], values: Values, resamples: int, confidence: float, seed: int, clusters: Codes | None = None
) -> dict[str, dict[str, float]]:
    """Mean, low and high of each column of ``values`` by its name, rounded: for a stage's meta. Arguments as for :func:`intervals`."""
    found = intervals(values, resamples, confidence, seed, clusters)
    return {
        name: {"mean": round(each.mean, 6), "low": round(each.low, 6), "high": round(each.high, 6)}
        for name, each in zip(names, found, strict=True)
    }


def compare(
    first: pa.Table,
    second: pa.Table,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    groups: Mapping[str, str | None] | None = None,
) -> dict[str, Difference]:
    """Paired bootstrap over queries between two evaluations, by measure in the first one's order.

    Args:
        first: metrics.parquet of one evaluation: query_id, measure, value.
        second: of another one, over the same queries.
        resamples: how often queries are drawn.
        confidence: of the two-sided interval.
        seed: of the drawing; the same draws for all measures.
        groups: of the queries, by query_id: groups are drawn; none, or a query without one: queries are.

    Raises:
        UsageError: they have no measure in common, or were not made on the same queries.
    """
    left, right = _wide(first), _wide(second)
    shared = [name for name in left[1] if name in right[1]]
    if not shared:
        raise UsageError(f"the evaluations share no measure: {', '.join(left[1])} and {', '.join(right[1])}", "evaluate both by the same")
    if left[0] != right[0]:
        differing = sorted(set(left[0]) ^ set(right[0]))
        raise UsageError(
            f"the evaluations are of different queries: {len(differing)} are in one only, the first {differing[0]!r}",
            "evaluate both on the same split of the same dataset version",
        )
    values = [side[2][:, [side[1].index(name) for name in shared]] for side in (left, right)]
    units = [(groups or {}).get(query) or ("", query) for query in left[0]]
    codes = {unit: code for code, unit in enumerate(dict.fromkeys(units))}
    drawn = resampled_means(values[1] - values[0], resamples, seed, np.array([codes[unit] for unit in units]))
    low, high = _bounds(drawn, confidence)
    found = {}
    for place, name in enumerate(shared):
        before, after = (float(value[:, place].mean()) for value in values)
        tail = min(float((drawn[:, place] <= 0).mean()), float((drawn[:, place] >= 0).mean()))
        found[name] = Difference(before, after, after - before, float(low[place]), float(high[place]), min(1.0, 2 * tail), len(left[0]))
    return found


def resampled_means(values: Values, resamples: int, seed: int, clusters: Codes | None = None) -> Values:
    """Means of resampled queries, or of resampled clusters of them, shape (resamples, measures)."""
    counted = np.hstack([values, np.ones((len(values), 1))])
    if clusters is not None:
        unit = np.unique(clusters, return_inverse=True)[1]
        sums = np.zeros((int(unit.max()) + 1, counted.shape[1]))
        np.add.at(sums, unit, counted)
        counted = sums
    totals = resampled(in_clusters(counted), resamples, seed)
    return np.asarray(totals[:, :-1] / totals[:, -1:])


def _bounds(drawn: Values, confidence: float) -> tuple[Values, Values]:
    alpha = (1 - confidence) / 2
    low, high = np.quantile(drawn, (alpha, 1 - alpha), axis=0)
    return low, high


def _wide(table: pa.Table) -> tuple[list[str], list[str], Values]:
    """(queries sorted, measures in order, values of shape (queries, measures))."""
    queries, measures, values = (table[name].to_pylist() for name in ("query_id", "measure", "value"))
    rows = {query: row for row, query in enumerate(sorted(set(queries)))}
    columns = {measure: column for column, measure in enumerate(dict.fromkeys(measures))}
    made = np.full((len(rows), len(columns)), np.nan)
    made[[rows[query] for query in queries], [columns[measure] for measure in measures]] = values
    return list(rows), list(columns), made
