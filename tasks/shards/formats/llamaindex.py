"""LlamaIndex' two fine-tuning formats.

``llamaindex``: the JSON of ``EmbeddingQAFinetuneDataset`` (queries, corpus, relevant_docs, mode), which its embedding engines train on. The
class knows no negatives: they are in the corpus, where its evaluator ranks them, and named in ``hard_negatives``, which it passes over.
``llamaindex-rerank``: the JSONL of ``CohereRerankerFinetuneDataset`` (query, relevant_passages, hard_negatives).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.shards.layouts import Layout
from tasks.shards.material import Material, listed
from tasks.shards.settings import ShardSettings


def llamaindex(material: Material, layout: Layout, settings: ShardSettings) -> pa.Table:
    """One row a query: its id and text, ids and texts of its documents, how many of them are positives."""
    counts = np.diff(layout.offsets)
    return pa.table(
        {
            "query_id": material.query_ids(layout),
            "query": material.query(layout),
            "doc_ids": listed(counts, material.line_column("doc_id", layout.lines)),
            "docs": listed(counts, material.document(layout.lines)),
            "positives": layout.positives,
        }
    )


def llamaindex_rerank(material: Material, layout: Layout, settings: ShardSettings) -> pa.Table:
    """One row a query: texts of its positives and of its negatives."""
    positive = layout.is_positive()
    return pa.table(
        {
            "query": material.query(layout),
            "relevant_passages": listed(layout.positives, material.document(layout.lines[positive])),
            "hard_negatives": listed(layout.negatives, material.document(layout.lines[~positive])),
        }
    )


def dataset_json(table: pa.Table) -> bytes:
    """:func:`llamaindex`'s rows as one JSON object, which ``EmbeddingQAFinetuneDataset.from_json`` reads."""
    content: dict[str, Any] = {"queries": {}, "corpus": {}, "relevant_docs": {}, "mode": "text", "hard_negatives": {}}
    row: dict[str, Any]
    for row in table.to_pylist():
        name, documents = row["query_id"], row["doc_ids"]
        content["queries"][name] = row["query"]
        content["corpus"].update(zip(documents, row["docs"], strict=True))
        content["relevant_docs"][name] = documents[: row["positives"]]
        content["hard_negatives"][name] = documents[row["positives"] :]
    return _dump(content)


def join_json(contents: Iterable[bytes]) -> bytes:
    """Several such objects as one."""
    whole: dict[str, Any] = {}
    for content in contents:
        for name, value in json.loads(content).items():
            if isinstance(value, Mapping):
                whole.setdefault(name, {}).update(value)
            else:
                whole[name] = value
    return _dump(whole)


def _dump(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False).encode()
