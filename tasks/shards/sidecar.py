"""The sidecar of a training file: ids, scores and masks, row by row beside it.

It is a file of its own and not more columns: sentence-transformers' trainers take every column of a dataset for a text
to embed (or a label), FlagEmbedding and Tevatron hand unknown columns on. Row i of ``sidecar/X.parquet`` belongs to row i of ``data/X``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tasks import sql
from tasks.shards.layouts import Layout
from tasks.shards.material import Material, listed

SIDECAR = pa.schema(
    [
        ("query_id", pa.string()),
        ("positive_ids", pa.list_(pa.string())),  # the row's positives; empty for a pair with label 0
        ("negative_ids", pa.list_(pa.string())),  # the row's negatives, in its order
        ("dense_scores", pa.list_(pa.float32())),  # of the positives, then of the negatives; so are the next three
        ("teacher_logits", pa.list_(pa.float32())),  # NULL: not scored
        ("labels", pa.list_(pa.float32())),
        ("weights", pa.list_(pa.float32())),
        ("suspected_ids", pa.list_(pa.string())),  # the query's candidates that were rejected as likely relevant: mask them in a batch
    ]
)


def suspected(decisions: pa.Table, stage: str, reasons: Sequence[str]) -> pa.Table:
    """Documents that were rejected as likely relevant: query_id, suspected_ids (sorted)."""
    query = """
SELECT query_id, list(DISTINCT doc_id ORDER BY doc_id) AS suspected_ids FROM decisions
WHERE decision = 'rejected' AND stage = $stage AND list_has_any(reasons, $reasons) GROUP BY query_id ORDER BY query_id"""
    return sql.run(query, {"decisions": decisions}, {"stage": stage, "reasons": list(reasons)})


def sidecar(material: Material, layout: Layout, suspects: pa.Table) -> pa.Table:
    """The sidecar of some output rows, in :data:`SIDECAR`'s columns."""
    positive = layout.is_positive()
    counts = np.diff(layout.offsets)
    query_id = material.query_ids(layout)

    def of_row(name: str) -> pa.Array:
        return listed(counts, material.line_column(name, layout.lines))

    table = pa.table(
        [
            query_id,
            listed(layout.positives, material.line_column("doc_id", layout.lines[positive])),
            listed(layout.negatives, material.line_column("doc_id", layout.lines[~positive])),
            of_row("dense_score"),
            of_row("teacher_logit"),
            of_row("label"),
            of_row("weight"),
            _of_query(query_id, suspects),
        ],
        names=SIDECAR.names,
    )
    return table.cast(SIDECAR)


def _of_query(query_id: pa.Array, suspects: pa.Table) -> pa.Array:
    query = """
SELECT coalesce(s.suspected_ids, []) AS ids
FROM (SELECT query_id, row_number() OVER () AS i FROM wanted) w LEFT JOIN suspects s ON s.query_id = w.query_id ORDER BY i"""
    return sql.run(query, {"wanted": pa.table({"query_id": query_id}), "suspects": suspects})["ids"].combine_chunks()
