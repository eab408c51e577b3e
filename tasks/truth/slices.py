"""Rates by slices of the queries: dataset, language, length, number of positives, difficulty."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pydantic import Field

from tasks.settings import Settings
from tasks.sql import run
from tasks.truth.intervals import Interval, clusters, codes, proportion

Bins = tuple[tuple[int, str], ...]  # upper end and name

SMALL = 30  # queries under which a slice says little
WORDS: Bins = ((3, "up to 3 words"), (7, "4–7 words"), (15, "8–15 words"))
POSITIVES: Bins = ((0, "none"), (1, "1"), (4, "2–4"), (9, "5–9"))
RANKS: Bins = ((1, "rank 1"), (5, "rank 2–5"), (20, "rank 6–20"), (100, "rank 21–100"))


class Slice(Settings):
    """A rate on some queries."""

    slice: str = Field(description="all, dataset, language, length, positives or difficulty.")
    value: str
    queries: int
    small: bool = Field(description="Fewer than 30 queries.")
    rate: Interval


def slices(queries: pa.Table) -> pa.Table:
    """Which slices each query is in.

    Args:
        queries: query_id, text, positives (how many) and positive_rank (dense rank of its best positive, NULL: not retrieved); optional
            dataset and language.

    Returns:
        query_id, slice, value, place (order of the values within their slice), sorted.
    """
    have = [name for name in ("dataset", "language") if name in queries.column_names]
    named = "".join(
        f" UNION ALL SELECT query_id, '{name}', coalesce({name}, 'unknown'), (CASE WHEN {name} IS NULL THEN 1 ELSE 0 END) FROM queries"
        for name in have
    )
    return run(
        f"""WITH counted AS (
              SELECT *, len(regexp_extract_all(text, '\\S+')) AS words FROM queries),
            known AS (
              SELECT query_id, 'all' AS slice, 'all' AS value, 0 AS place FROM queries
              UNION ALL SELECT query_id, 'length', {_cases("words", WORDS, "16 words or more")} FROM counted
              UNION ALL SELECT query_id, 'positives', {_cases("positives", POSITIVES, "10 or more")} FROM queries
              UNION ALL SELECT query_id, 'difficulty', {_cases("positive_rank", RANKS, "rank over 100", "not retrieved")}
              FROM queries{named})
            SELECT * FROM known ORDER BY slice, place, value, query_id""",
        {"queries": queries},
    )


def rates(counts: pa.Table, sliced: pa.Table, level: float = 0.95) -> list[Slice]:
    """A rate for each slice that has pairs.

    Args:
        counts: query_id, numerator, denominator (pairs), optional group; a query may have several rows.
        sliced: of :func:`slices`.
        level: confidence.

    Returns:
        In the order of ``sliced``.
    """
    group = ', any_value(counts.group) AS "group"' if "group" in counts.column_names else ""
    rows = run(
        f"""SELECT slice, value, place, counts.query_id, sum(numerator) AS numerator, sum(denominator) AS denominator{group}
            FROM counts JOIN sliced USING (query_id) GROUP BY slice, value, place, counts.query_id HAVING sum(denominator) > 0
            ORDER BY slice, place, value, counts.query_id""",
        {"counts": counts, "sliced": sliced},
    )
    if not rows.num_rows:
        return []
    names = list(zip(rows["slice"].to_pylist(), rows["value"].to_pylist(), strict=True))
    starts = [at for at, name in enumerate(names) if at == 0 or names[at - 1] != name]
    return [
        _slice(names[start], rows.slice(start, end - start), level) for start, end in zip(starts, [*starts[1:], rows.num_rows], strict=True)
    ]


def _slice(name: tuple[str, str], rows: pa.Table, level: float) -> Slice:
    top, bottom = (rows[column].cast(pa.float64()).to_numpy() for column in ("numerator", "denominator"))
    rate = proportion(top, bottom, codes(clusters(rows)), level)
    number = int(np.unique(codes(rows["query_id"])).size)
    return Slice(slice=name[0], value=name[1], queries=number, small=number < SMALL, rate=rate)


def _cases(column: str, bins: Bins, last: str, missing: str = "unknown") -> str:
    """SQL of a bin's name and its place, for bins given by their upper ends."""
    names = " ".join(f"WHEN {column} <= {edge} THEN '{name}'" for edge, name in bins)
    places = " ".join(f"WHEN {column} <= {edge} THEN {place}" for place, (edge, _) in enumerate(bins))
    return (
        f"CASE WHEN {column} IS NULL THEN '{missing}' {names} ELSE '{last}' END, "
        f"CASE WHEN {column} IS NULL THEN {len(bins) + 1} {places} ELSE {len(bins)} END"
    )
