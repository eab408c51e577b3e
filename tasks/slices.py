"""Slices of the queries that rates, yields and metrics are told by: dataset, language, length, number of positives, difficulty."""

from __future__ import annotations

import pyarrow as pa

from tasks.sql import run

Bins = tuple[tuple[int, str], ...]  # upper end and name

SMALL = 30  # queries under which a slice says little
WORDS: Bins = ((3, "up to 3 words"), (7, "4–7 words"), (15, "8–15 words"))
POSITIVES: Bins = ((0, "none"), (1, "1"), (4, "2–4"), (9, "5–9"))
RANKS: Bins = ((1, "rank 1"), (5, "rank 2–5"), (20, "rank 6–20"), (100, "rank 21–100"))


def slices(queries: pa.Table) -> pa.Table:
    """Which slices each query is in.

    Args:
        queries: query_id, text, positives (how many); optional positive_rank (dense rank of its best positive, NULL: not retrieved) for
            the difficulty, dataset and language, which are no slices where all are NULL.

    Returns:
        query_id, slice, value, place (order of the values within their slice), sorted.
    """
    have = [name for name in ("dataset", "language") if name in queries.column_names and queries[name].null_count < queries.num_rows]
    named = "".join(
        f" UNION ALL SELECT query_id, '{name}', coalesce({name}, 'unknown'), (CASE WHEN {name} IS NULL THEN 1 ELSE 0 END) FROM queries"
        for name in have
    )
    ranked = ""
    if "positive_rank" in queries.column_names:
        cases = _cases("positive_rank", RANKS, "rank over 100", "not retrieved")
        ranked = f"UNION ALL SELECT query_id, 'difficulty', {cases} FROM queries"
    return run(
        f"""WITH counted AS (
              SELECT *, len(regexp_extract_all(text, '\\S+')) AS words FROM queries),
            known AS (
              SELECT query_id, 'all' AS slice, 'all' AS value, 0 AS place FROM queries
              UNION ALL SELECT query_id, 'length', {_cases("words", WORDS, "16 words or more")} FROM counted
              UNION ALL SELECT query_id, 'positives', {_cases("positives", POSITIVES, "10 or more")} FROM queries
              {ranked}{named})
            SELECT * FROM known ORDER BY slice, place, value, query_id""",
        {"queries": queries},
    )


def _cases(column: str, bins: Bins, last: str, missing: str = "unknown") -> str:
    """SQL of a bin's name and its place, for bins given by their upper ends."""
    names = " ".join(f"WHEN {column} <= {edge} THEN '{name}'" for edge, name in bins)
    places = " ".join(f"WHEN {column} <= {edge} THEN {place}" for place, (edge, _) in enumerate(bins))
    return (
        f"CASE WHEN {column} IS NULL THEN '{missing}' {names} ELSE '{last}' END, "
        f"CASE WHEN {column} IS NULL THEN {len(bins) + 1} {places} ELSE {len(bins)} END"
    )
