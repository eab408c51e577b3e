"""Lists with scores for listwise distillation: query_id, query, doc_ids, docs, teacher_scores, dense_scores, labels."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.shards.layouts import Layout
from tasks.shards.material import Material, listed
from tasks.shards.settings import ShardSettings


def listwise(material: Material, layout: Layout, settings: ShardSettings) -> pa.Table:
    """One row a query: its positives, then its negatives, hardest first.

    ``teacher_scores`` are raw logits (NULL: not scored); ``labels`` are floats, as the recipe's draws set them.
    """
    counts = np.diff(layout.offsets)

    def of_row(name: str) -> pa.Array:
        return listed(counts, material.line_column(name, layout.lines))

    return pa.table(
        {
            "query_id": material.query_ids(layout),
            "query": material.query(layout),
            "doc_ids": of_row("doc_id"),
            "docs": listed(counts, material.document(layout.lines)),
            "teacher_scores": of_row("teacher_logit"),
            "dense_scores": of_row("dense_score"),
            "labels": of_row("label"),
        }
    )
