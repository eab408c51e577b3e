"""Judgements besides the dataset's own labels, kept under the root by their content: what an evaluation with a fuller truth reads."""

from __future__ import annotations

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from tasks.store.storage import Storage
from tasks.store.tables import keep_table, read_kept

JUDGEMENTS = pa.schema([("query_id", pa.string()), ("doc_id", pa.string()), ("relevance", pa.int32())])


class Judgements(BaseModel):
    """A table of :data:`JUDGEMENTS` under the root."""

    model_config = ConfigDict(frozen=True)
    path: str
    bytes: int
    checksum: str


def keep_judgements(storage: Storage, pairs: pa.Table) -> Judgements:
    """Put judgements under the root; equal ones are kept once.

    Args:
        storage: the root.
        pairs: query_id, doc_id, relevance, each pair once.
    """
    path, size, checksum = keep_table(storage, "judgements", pairs.select(JUDGEMENTS.names).cast(JUDGEMENTS))
    return Judgements(path=path, bytes=size, checksum=checksum)


def read_judgements(storage: Storage, kept: Judgements) -> pa.Table:
    """The pairs."""
    return read_kept(storage, kept.path, kept.bytes, kept.checksum)
