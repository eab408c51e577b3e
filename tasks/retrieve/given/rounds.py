"""Negatives of earlier rounds as candidates."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.runner.stage import Work
from tasks.sql import run as run_sql

# The newest round first, then by slot: what a pair had in the newest round counts.
_NEGATIVES = """
SELECT r.query_id AS query, r.doc_id AS document, min(r.slot) AS slot, min(s.dense_score) AS score
FROM lines r LEFT JOIN scored s USING (query_id, doc_id) WHERE r.slot > 0 GROUP BY ALL ORDER BY query, slot, document"""


def round_rows(work: Work, rounds: int) -> pa.Table:
    """query, document, score, rank, line, file of what earlier rounds trained with as negatives.

    The rank puts the newest round's negatives first, in the order of their slots; the score is the ``dense_score`` that the newest of the
    rounds gave. A document that the dataset no longer has is left out.

    Args:
        work: whose inputs ``select.N`` and ``scored.N`` are the rounds, the newest first.
        rounds: how many there are.
    """
    found = []
    for place in range(rounds):
        lines = work.table(f"select.{place}", "rows.parquet", ["query_id", "doc_id", "slot"])
        scored = work.table(f"scored.{place}", "scored.parquet", ["query_id", "doc_id", "dense_score"])
        table = run_sql(_NEGATIVES, {"lines": lines, "scored": scored})
        found.append(table.append_column("file", pa.array(np.full(table.num_rows, place), pa.int32())))
    table = pa.concat_tables(found).combine_chunks()
    order = pc.add(pc.multiply(table["file"].cast(pa.int64()), 1 << 32), table["slot"].cast(pa.int64()))
    first = _first_of_each(table, order)
    table, order = table.take(first), order.take(first)
    nothing = pa.array(np.full(table.num_rows, np.nan))
    return pa.table(
        {
            "query": table["query"],
            "document": table["document"],
            "score": nothing,
            "rank": order,
            "line": pa.array(np.arange(table.num_rows)),
            "file": table["file"],
            "own_score": table["score"].cast(pa.float64()),
        }
    ).combine_chunks()


def _first_of_each(table: pa.Table, order: pa.ChunkedArray) -> pa.Array:
    """Rows with the least order of each (query, document)."""
    numbered = table.select(["query", "document"]).append_column("o", order).append_column("row", pa.array(np.arange(table.num_rows)))
    best = run_sql("SELECT arg_min(row, o) AS row FROM t GROUP BY query, document ORDER BY 1", {"t": numbered})
    return best["row"].combine_chunks()
