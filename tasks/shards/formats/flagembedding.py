"""FlagEmbedding's fine-tuning JSONL: query, pos, neg, pos_scores, neg_scores, prompt, type.

Its reader draws one of ``pos`` and some of ``neg`` for each step. It takes the scores only with
``knowledge_distillation``, where a pair without a score (null here, counted as rows_without_scores) stops it.
"""

from __future__ import annotations

import pyarrow as pa

from tasks.shards.layouts import Layout
from tasks.shards.material import Material, listed
from tasks.shards.settings import ShardSettings


def flagembedding(material: Material, layout: Layout, settings: ShardSettings) -> pa.Table:
    """One row a query: texts and scores of its positives and of its negatives."""
    positive = layout.is_positive()
    sides = {
        "pos": (layout.positives, layout.lines[positive]),
        "neg": (layout.negatives, layout.lines[~positive]),
    }
    columns: dict[str, pa.Array] = {"query": material.query(layout)}
    for side, (counts, lines) in sides.items():
        columns[side] = listed(counts, material.document(lines))
    for side, (counts, lines) in sides.items():
        columns[f"{side}_scores"] = listed(counts, material.line_column("score", lines))
    columns["prompt"] = pa.repeat(pa.scalar(settings.query_prompt), len(layout))
    columns["type"] = pa.repeat(pa.scalar(settings.type), len(layout))
    return pa.table(columns)
