"""Rows of ids alone, with each text once in a lookup beside them: where texts repeat n-fold, files are a fraction of the others' size.

``ids`` is our own (Parquet). ``tevatron-ids`` is the JSONL that Tevatron 2 (``tevatron.retriever``) reads with a corpus of its own:
query_id, query and query_text, positive_document_ids, negative_document_ids; the corpus has docid and text.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.shards.layouts import Ints, Layout
from tasks.shards.material import Material, listed
from tasks.shards.settings import ShardSettings


def ids(material: Material, layout: Layout, settings: ShardSettings) -> pa.Table:
    """One row a query: query_id, positive_ids, negative_ids (hardest first)."""
    positives, negatives = _sides(material, layout)
    return pa.table({"query_id": material.query_ids(layout), "positive_ids": positives, "negative_ids": negatives})


def tevatron_ids(material: Material, layout: Layout, settings: ShardSettings) -> pa.Table:
    """One row a query: its text under both names that Tevatron has had for it, and ids of its documents."""
    positives, negatives = _sides(material, layout)
    text = material.query(layout)
    return pa.table(
        {
            "query_id": material.query_ids(layout),
            "query": text,
            "query_text": text,
            "positive_document_ids": positives,
            "negative_document_ids": negatives,
        }
    )


def texts(material: Material, layout: Layout) -> dict[str, pa.Table]:
    """What the ids of some rows stand for, each once, by id: documents (doc_id, text by the template), queries (query_id, text)."""
    anchors = layout.anchor[_first(material.anchors.query[layout.anchor])]
    queries = pa.table(
        {
            "query_id": material.line_column("query_id", material.anchors.first[anchors]),
            "text": material.queries.take(pa.array(material.anchors.query[anchors])).combine_chunks(),
        }
    )
    lines = layout.lines[_first(material.anchors.document[layout.lines])]
    documents = pa.table({"doc_id": material.line_column("doc_id", lines), "text": material.document(lines)})
    return {"documents": documents.sort_by("doc_id"), "queries": queries.sort_by("query_id")}


def corpus(material: Material, layout: Layout) -> dict[str, pa.Table]:
    """:func:`texts` as Tevatron's corpus: docid, text."""
    return {"corpus": texts(material, layout)["documents"].rename_columns(["docid", "text"])}


def _sides(material: Material, layout: Layout) -> tuple[pa.Array, pa.Array]:
    positive = layout.is_positive()
    return (
        listed(layout.positives, material.line_column("doc_id", layout.lines[positive])),
        listed(layout.negatives, material.line_column("doc_id", layout.lines[~positive])),
    )


def _first(keys: Ints) -> Ints:
    """Where each key comes first."""
    found: Ints = np.unique(keys, return_index=True)[1]
    return found
