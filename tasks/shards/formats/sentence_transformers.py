"""sentence-transformers' four formats: the columns, order and grouping of its ``mine_hard_negatives``.

Plain columns only, which ``datasets.load_dataset("parquet", …)`` reads and its trainers take as they are. With
``output_scores``: ``scores`` (a list, the positive's first), for labeled-pair ``score`` instead of ``label``.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.shards.layouts import Layout
from tasks.shards.material import Material, listed
from tasks.shards.settings import ShardSettings


def triplet(material: Material, layout: Layout, settings: ShardSettings) -> pa.Table:
    """anchor, positive, negative (, scores)."""
    return _in_columns(material, layout, ["positive", "negative"], settings)


def n_tuple(material: Material, layout: Layout, settings: ShardSettings) -> pa.Table:
    """anchor, positive, negative_1 … negative_n (, scores)."""
    return _in_columns(material, layout, ["positive", *(f"negative_{i}" for i in range(1, settings.num_negatives + 1))], settings)


def labeled_pair(material: Material, layout: Layout, settings: ShardSettings) -> pa.Table:
    """anchor, positive, label (or score). The column is called positive for negatives too, as there."""
    columns = {"anchor": material.query(layout), "positive": material.document(layout.lines)}
    if settings.output_scores:
        return pa.table({**columns, "score": material.line_column("score", layout.lines)})
    return pa.table({**columns, "label": layout.positives})


def labeled_list(material: Material, layout: Layout, settings: ShardSettings) -> pa.Table:
    """anchor, positive (a list: the positive, then the negatives), labels (or scores)."""
    counts = np.diff(layout.offsets)
    columns = {"anchor": material.query(layout), "positive": listed(counts, material.document(layout.lines))}
    if settings.output_scores:
        return pa.table({**columns, "scores": listed(counts, material.line_column("score", layout.lines))})
    return pa.table({**columns, "labels": listed(counts, pa.array(layout.is_positive().astype(np.int64)))})


def _in_columns(material: Material, layout: Layout, names: list[str], settings: ShardSettings) -> pa.Table:
    lines = layout.lines.reshape(len(layout), len(names))
    columns = {"anchor": material.query(layout), **{name: material.document(lines[:, place]) for place, name in enumerate(names)}}
    if settings.output_scores:
        columns["scores"] = listed(np.diff(layout.offsets), material.line_column("score", layout.lines))
    return pa.table(columns)
