"""Yield curves: how many negatives a threshold leaves, and at which false-negative rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from tasks.bootstrap import CLUSTERS
from tasks.compare.groups import query_clusters
from tasks.compare.results import Rate, Result
from tasks.compare.truth import Truth
from tasks.errors import UsageError, nearest
from tasks.intervals import Codes, Floats, proportion
from tasks.settings import Settings
from tasks.sql import quote_identifier, run

Estimator = Literal["truth", "calibrated"]
PROBABILITIES = ("teacher_sigmoid", "teacher_calibrated")
_PROBABILITY_GRID = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.03,
    0.05,
    0.07,
    *(round(0.1 + 0.05 * step, 2) for step in range(18)),
    0.97,
    0.99,
    1.01,
)
_BLOCK = 4_000_000  # cells (query, candidate, threshold) that are worked on at once


class YieldSettings(Settings):
    """What is asked of a threshold."""

    num_negatives: int = Field(5, ge=1, description="Negatives that a query should have; the rate is that of the first so many kept.")
    depth: int = Field(100, ge=1, description="Dense ranks that are looked at.")
    on_null: Literal["keep", "reject"] = Field("reject", description="A candidate without a value.")
    steps: int = Field(40, ge=2, le=1000, description="Thresholds, where none are given.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Of the intervals.")


class YieldPoint(Result):
    """One threshold: candidates with a lower value are kept."""

    threshold: float
    remaining: float = Field(description="Candidates kept a query, mean.")
    served: float = Field(description="Share of queries that keep num_negatives or more.")
    rate: Rate | None = Field(description="False negatives among the first num_negatives kept, by rank; none without an estimate.")


class YieldCurve(Result):
    """All thresholds of one column, the strictest first."""

    column: str
    estimator: Estimator | None
    num_negatives: int
    depth: int
    queries: int
    points: tuple[YieldPoint, ...]


def measures(scored: pa.Table) -> list[str]:
    """What a threshold may be on: numeric columns, and ``<score>_ratio`` and ``<score>_margin`` where the positive's score is known.

    ``_ratio`` is s / s⁺ (for s⁺ < 0: 1 − (s⁺ − s) / |s⁺|, as the rule relative_margin has it), ``_margin`` is s − s⁺; s⁺ is the least
    over a query's positives.
    """
    names = scored.column_names
    numeric = [field.name for field in scored.schema if pa.types.is_floating(field.type) or pa.types.is_integer(field.type)]
    with_positive = [name for name in names if f"positive_{name}_min" in names]
    return [*numeric, *(f"{name}_{kind}" for name in with_positive for kind in ("ratio", "margin"))]


def yield_curve(
    scored: pa.Table,
    column: str,
    settings: YieldSettings,
    thresholds: Sequence[float] | None = None,
    truth: Truth | None = None,
    groups: pa.Table | None = None,
) -> YieldCurve:
    """What each threshold of one column leaves.

    Candidates are unlabelled, within the first ranks, and no copy of the query or a positive. With a truth the rate is exact over its
    judged queries; else the mean of teacher_calibrated, if that is filled.

    Args:
        scored: the scored table of the round.
        column: one of :func:`measures`.
        settings: see there.
        thresholds: to try; by default fixed ones for probabilities, else evenly spaced over the values.
        truth: exhaustive judgements, or none.
        groups: query_id, group (NULL: none): queries of one group are not independent; none: all are.

    Raises:
        UsageError: there is no such column, or no candidate has a value in it.
    """
    queries, found = _candidates(scored, column, settings, truth)
    values = _numbers(found["value"]).astype(np.float32)
    grid = _grid(column, values[~np.isnan(values)], settings.steps, thresholds)
    bins = np.searchsorted(grid.astype(np.float32), values, side="right")  # from this threshold on it is kept
    bins[np.isnan(values)] = 0 if settings.on_null == "keep" else len(grid)
    sampled = _numbers(queries["sampled"]) > 0
    cluster = query_clusters(queries, groups) % CLUSTERS
    remaining, served, over, under = _tally(found, bins, len(grid), sampled, cluster, settings.num_negatives)
    rates = _rates(over, under, settings)
    estimator: Estimator | None = None if not under.any() else "calibrated" if truth is None else "truth"
    points = (
        YieldPoint(threshold=float(threshold), remaining=float(remaining[at]), served=float(served[at]), rate=rates[at])
        for at, threshold in enumerate(grid)
    )
    return YieldCurve(
        column=column,
        estimator=estimator,
        num_negatives=settings.num_negatives,
        depth=settings.depth,
        queries=queries.num_rows,
        points=tuple(points),
    )


def _candidates(scored: pa.Table, column: str, settings: YieldSettings, truth: Truth | None) -> tuple[pa.Table, pa.Table]:
    """Queries that have a positive (query_no, sampled), and their candidates by rank (query_no, place from 0, value, estimate)."""
    columns, value = _expression(scored, column)
    copies = [name for name in ("copy_of", "norm_copy_of") if name in scored.column_names]
    calibrated = "teacher_calibrated" in scored.column_names
    wanted = {
        "query_id",
        "doc_id",
        "is_positive",
        "relevance",
        "dense_rank",
        *columns,
        *copies,
        *(["teacher_calibrated"] if calibrated else []),
    }
    table = scored.select([name for name in scored.column_names if name in wanted])
    nothing = pa.table({"query_id": pa.array([], pa.string()), "doc_id": pa.array([], pa.string())})
    judged, relevant = (truth.judged, truth.relevant) if truth is not None else (nothing, nothing)
    sampled = "query_id IN (SELECT query_id FROM judged)" if truth is not None else "true"
    queries = run(
        f"""SELECT query_id, row_number() OVER (ORDER BY query_id) - 1 AS query_no, ({sampled})::INTEGER AS sampled
            FROM (SELECT DISTINCT query_id FROM scored WHERE is_positive) ORDER BY query_id""",
        {"scored": table, "judged": judged},
    )
    known = "s.teacher_calibrated::DOUBLE" if calibrated else "NULL::DOUBLE"
    estimate = "CASE WHEN q.sampled = 1 THEN (r.doc_id IS NOT NULL)::INTEGER::DOUBLE END" if truth is not None else known
    found = run(
        f"""SELECT q.query_no, row_number() OVER (PARTITION BY q.query_no ORDER BY s."dense_rank", s.doc_id) - 1 AS place,
                   {value} AS value, {estimate} AS estimate
            FROM scored s JOIN queries q ON q.query_id = s.query_id
            LEFT JOIN relevant r ON r.query_id = s.query_id AND r.doc_id = s.doc_id
            WHERE NOT s.is_positive AND s.relevance IS NULL AND s."dense_rank" <= {settings.depth}
              {"".join(f"AND s.{name} IS NULL " for name in copies)}
            ORDER BY query_no, place""",
        {"scored": table, "queries": queries, "relevant": relevant},
    )
    return queries, found


def _expression(scored: pa.Table, column: str) -> tuple[list[str], str]:
    """The columns that a measure reads, and its SQL in float32."""
    known = measures(scored)
    if column not in known:
        raise UsageError(f"there is no column {column!r} to put a threshold on", nearest(column, known))
    if column in scored.column_names:
        return [column], f"s.{quote_identifier(column)}::FLOAT"
    score, _, kind = column.rpartition("_")
    own, positive = f"s.{quote_identifier(score)}", f"s.{quote_identifier(f'positive_{score}_min')}"
    margin = f"({own} - {positive})"
    value = margin if kind == "margin" else f"(1::FLOAT + {margin} / nullif(abs({positive}), 0::FLOAT))"
    return [score, f"positive_{score}_min"], f"{value}::FLOAT"


def _grid(column: str, values: npt.NDArray[np.float32], steps: int, thresholds: Sequence[float] | None) -> Floats:
    """Ascending thresholds."""
    if thresholds is not None:
        if not thresholds:
            raise UsageError("no thresholds are given", "give one or more, or none at all for the default ones")
        return np.unique(np.asarray(thresholds, dtype=np.float64))
    if not len(values):
        raise UsageError(f"no candidate has a value in {column}", "take a column that this round has filled")
    if column in PROBABILITIES:
        return np.asarray(_PROBABILITY_GRID)
    low, high = (float(bound) for bound in np.quantile(values, (0.01, 1.0)))
    digits = max(0, 3 - int(np.floor(np.log10(max(high - low, 1e-6)))))
    return np.unique(np.round(np.linspace(low, high + 10.0**-digits, steps), digits))


def _tally(
    found: pa.Table, bins: npt.NDArray[np.int64], steps: int, sampled: npt.NDArray[np.bool_], cluster: Codes, wanted: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """One pass over the candidates for all thresholds, in blocks of queries.

    Args:
        found: query_no, place and estimate, by query_no.
        bins: per candidate, the first threshold that keeps it.
        steps: how many thresholds.
        sampled: per query, whether it counts for the rate.
        cluster: per query, its group; of very many, several are put together.
        wanted: negatives a query.

    Returns:
        (mean kept a query, share of queries that keep enough), shape (steps,); (Σ estimate, number with an estimate) among the first
        ``wanted`` kept, shape (clusters, steps).
    """
    query, place = (found[name].to_numpy().astype(np.int64) for name in ("query_no", "place"))
    estimate = _numbers(found["estimate"])
    queries, width = len(sampled), int(place.max(initial=0)) + 1
    over, under = np.zeros((2, int(cluster.max(initial=0)) + 1, steps))
    kept_sum, served = np.zeros(steps), np.zeros(steps)
    size = max(1, _BLOCK // (width * steps))
    for start in range(0, queries, size):
        end = min(start + size, queries)
        rows = slice(*np.searchsorted(query, (start, end)))
        cells = (query[rows] - start, place[rows])
        first_bin, value = np.full((end - start, width), steps), np.full((end - start, width), np.nan)
        first_bin[cells], value[cells] = bins[rows], estimate[rows]
        kept = first_bin[:, :, None] <= np.arange(steps)
        number = np.cumsum(kept, axis=1, dtype=np.int32)
        kept_sum += number[:, -1].sum(axis=0)
        served += (number[:, -1] >= wanted).sum(axis=0)
        among = (kept & (number <= wanted)).astype(np.float64)
        np.add.at(over, cluster[start:end], np.einsum("qkt,qk->qt", among, np.nan_to_num(value)))
        np.add.at(under, cluster[start:end], np.einsum("qkt,qk->qt", among, (~np.isnan(value)).astype(np.float64)))
    return kept_sum / max(queries, 1), served / max(queries, 1), over, under


def _rates(over: Floats, under: Floats, settings: YieldSettings) -> list[Rate | None]:
    rates: list[Rate | None] = []
    for top, bottom in zip(over.T, under.T, strict=True):
        if not bottom.any():
            rates.append(None)
            continue
        found = proportion(top, bottom, level=settings.confidence)
        rates.append(Rate(value=found.estimate, low=found.low, high=found.high, pairs=found.n, queries=found.n_clusters))
    return rates


def _numbers(column: pa.ChunkedArray) -> Floats:
    """float64; NULL is NaN."""
    return np.asarray(column.to_numpy(), dtype=np.float64)
