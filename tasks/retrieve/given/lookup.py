"""Where the queries and documents of given candidates lie in the dataset's partitions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.runner.stage import Work
from tasks.store.keys import partition_of

Ints = NDArray[np.int64]


def find_queries(work: Work, values: pa.Array, column: str) -> tuple[Ints, Ints]:
    """Partition and row of queries; -1: there is none.

    Args:
        work: whose inputs ``queries`` are all query partitions.
        values: (n,) what to look for.
        column: of queries.parquet: ``query_id`` or ``norm_hash``.
    """
    parts = work.job.inputs["queries"]
    held = [work.part_table(part, "queries.parquet", [column])[column].combine_chunks() for part in parts]
    starts = np.cumsum([0, *(len(one) for one in held)])
    place = _place(values, pa.concat_arrays(held))
    partition = np.searchsorted(starts, place, side="right") - 1
    return np.where(place < 0, -1, partition), np.where(place < 0, -1, place - starts[np.maximum(partition, 0)])


def find_documents(work: Work, values: pa.Array, column: str) -> tuple[Ints, Ints]:
    """Partition and row of documents; -1: there is none. One partition's ids are in memory at a time.

    Args:
        work: whose inputs ``documents`` are all document partitions.
        values: (n,) what to look for, each once.
        column: of docs.parquet: ``doc_id``, or ``norm_hash``, which lies in any partition.
    """
    parts = work.job.inputs["documents"]
    partition, row = np.full(len(values), -1, dtype=np.int64), np.full(len(values), -1, dtype=np.int64)
    wanted = _partitions(values.to_pylist(), len(parts), bool(work.job.settings.get("chunked"))) if column == "doc_id" else None
    for number, part in enumerate(parts):
        here = np.flatnonzero(partition < 0 if wanted is None else wanted == number)
        if not len(here):
            continue
        place = _place(values.take(pa.array(here)), work.part_table(part, "docs.parquet", [column])[column].combine_chunks())
        there = place >= 0
        partition[here[there]], row[here[there]] = number, place[there]
    return partition, row


def _partitions(ids: Sequence[str], count: int, chunked: bool) -> Ints:
    """A chunk lies where its document does: the id up to the last ``#`` decides."""
    whole = (one.rpartition("#")[0] for one in ids) if chunked else ids
    return np.fromiter((partition_of(one, count) for one in whole), np.int64, len(ids))


def _place(values: pa.Array, known: pa.Array) -> Ints:
    found: Ints = pc.fill_null(pc.index_in(values, value_set=known), -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return found
