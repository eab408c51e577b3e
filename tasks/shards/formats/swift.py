"""SWIFT's (ms-swift) JSONL for embedding models: messages, positive_messages, negative_messages.

Its ``--task_type embedding --loss_type infonce`` takes the first of positive_messages, so a row has one positive. With
``--task_type reranker`` the same rows are read; there each document answers the query, hence the role ``assistant``.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.shards.layouts import Ints, Layout
from tasks.shards.material import Material, listed
from tasks.shards.settings import ShardSettings


def swift(material: Material, layout: Layout, settings: ShardSettings) -> pa.Table:
    """One row a positive: the query as a message of the user, each document as a conversation of one message."""
    positive = layout.is_positive()
    one = np.ones(len(layout), np.int64)
    return pa.table(
        {
            "messages": listed(one, _messages("user", material.query(layout))),
            "positive_messages": listed(layout.positives, _documents(material, layout.lines[positive])),
            "negative_messages": listed(layout.negatives, _documents(material, layout.lines[~positive])),
        }
    )


def _documents(material: Material, lines: Ints) -> pa.Array:
    return listed(np.ones(len(lines), np.int64), _messages("assistant", material.document(lines)))


def _messages(role: str, texts: pa.Array) -> pa.Array:
    return pa.StructArray.from_arrays([pa.repeat(pa.scalar(role), len(texts)), texts], names=["role", "content"])
