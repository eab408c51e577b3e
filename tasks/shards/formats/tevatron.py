"""Tevatron's training JSONL: query_id, query, positive_passages and negative_passages (docid, title, text).

Title and text stay apart: Tevatron joins them itself.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tasks.shards.layouts import Ints, Layout
from tasks.shards.material import Material, listed
from tasks.shards.settings import ShardSettings


def tevatron(material: Material, layout: Layout, settings: ShardSettings) -> pa.Table:
    """One row a query: its positive and its negative passages."""
    positive = layout.is_positive()
    return pa.table(
        {
            "query_id": material.query_ids(layout),
            "query": material.query(layout),
            "positive_passages": listed(layout.positives, _passages(material, layout.lines[positive])),
            "negative_passages": listed(layout.negatives, _passages(material, layout.lines[~positive])),
        }
    )


def _passages(material: Material, lines: Ints) -> pa.Array:
    columns = [
        material.line_column("doc_id", lines),
        pc.fill_null(material.document(lines, "title"), ""),
        pc.fill_null(material.document(lines, "text"), ""),
    ]
    return pa.StructArray.from_arrays(columns, names=["docid", "title", "text"])
