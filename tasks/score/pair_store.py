"""The pair store: every pair that a teacher ever scored, found by (query_hash, doc_hash).

A segment is a ``pairs.parquet`` that some score partition wrote; it is immutable and sorted. A marker under
``manifests/pairs/<teacher>/`` names it. The marker is put after the segment and before the partition's manifest:

- killed before the marker: the partition has no manifest either, is scored again, and writes the same bytes and marker;
- killed after it: the marker names a whole, correct file, and the next run takes all its pairs from there;
- so a committed partition always has its marker, and nothing needs to be searched for.

Over 16 segments they are merged into files by the first hex digit of the query's hash. The pointer ``pairs/<teacher>``
names those files and the markers that they replace; it moves by compare-and-swap. Old segments stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.schema import PAIRS
from tasks.store.manifest import FileRecord
from tasks.store.output import Output
from tasks.store.segments import BUCKETS, MAX_SEGMENTS, Segments, bucket_file, may_hold
from tasks.store.storage import Storage
from tasks.store.tables import local_file

_KEYS = ["query_hash", "doc_hash"]


def put_marker(storage: Storage, teacher: str, key: str, record: FileRecord) -> None:
    """Make a written segment known.

    Args:
        storage: the root.
        teacher: fingerprint.
        key: of the partition that wrote it.
        record: the file.
    """
    _store(storage, teacher).mark(key, record)


def segments(storage: Storage, teacher: str) -> list[FileRecord]:
    """The files that hold a teacher's pairs now: what a stage pins at its start. Files that are gone are left out."""
    return _store(storage, teacher).files()


def pin(storage: Storage, teacher: str, limit: int = MAX_SEGMENTS) -> list[FileRecord]:
    """:func:`segments`, merged first where there are more than ``limit`` of them."""
    return _store(storage, teacher).pin(limit, lambda: compact(storage, teacher))


def compact(storage: Storage, teacher: str) -> bool:
    """Merge all segments into a new generation: see :meth:`tasks.store.segments.Segments.merge`."""

    def write(output: Output, records: list[FileRecord]) -> None:
        for bucket in BUCKETS:
            table = first_of_each(pa.concat_tables([_bucket(storage, record, bucket) for record in records]))
            if table.num_rows:
                output.table(bucket_file(bucket), table)

    return _store(storage, teacher).merge(write)


def lookup(storage: Storage, files: Sequence[FileRecord], wanted: pa.Table) -> pa.Table:
    """The logits that are known.

    Args:
        storage: the root.
        files: pinned segments; where several hold a pair, the first one counts.
        wanted: columns query_hash and doc_hash, sorted, without repeats.

    Returns:
        A :data:`tasks.schema.PAIRS` table, sorted: those of ``wanted`` that some segment holds.
    """
    if wanted.num_rows == 0:
        return PAIRS.empty_table()
    hashes = np.unique(np.asarray(wanted["query_hash"].to_numpy(zero_copy_only=False), dtype="S32"))
    pieces = [_matching(storage, record, wanted, hashes) for record in files]
    return first_of_each(pa.concat_tables([PAIRS.empty_table(), *pieces]))


def first_of_each(table: pa.Table) -> pa.Table:
    """A PAIRS table sorted, with the first of repeated pairs only."""
    numbered = table.append_column("row", pa.array(np.arange(table.num_rows, dtype=np.int64)))
    ordered = numbered.sort_by([("query_hash", "ascending"), ("doc_hash", "ascending"), ("row", "ascending")]).combine_chunks()
    if ordered.num_rows < 2:
        return ordered.select(PAIRS.names)
    same = pc.true_unless_null(pc.equal(ordered["query_hash"][1:], ordered["query_hash"][:-1]))
    for name in _KEYS:
        same = pc.and_(same, pc.equal(ordered[name][1:], ordered[name][:-1]))
    keep = np.append(True, ~np.asarray(same.to_numpy(zero_copy_only=False), dtype=bool))
    return ordered.filter(pa.array(keep)).select(PAIRS.names)


def _matching(storage: Storage, record: FileRecord, wanted: pa.Table, hashes: Any) -> pa.Table:
    """Rows of one segment that are wanted: only row groups whose range of query hashes meets a wanted one are read."""
    file = pq.ParquetFile(local_file(storage, record))
    groups = [number for number in range(file.num_row_groups) if _may_hold(file, number, hashes)]
    if not groups:
        return PAIRS.empty_table()
    return wanted.join(file.read_row_groups(groups), keys=_KEYS, join_type="inner", use_threads=False).select(PAIRS.names).cast(PAIRS)


def _may_hold(file: pq.ParquetFile, group: int, hashes: Any) -> bool:
    statistics = file.metadata.row_group(group).column(0).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    low, high = (
        np.searchsorted(hashes, [statistics.min.encode()], "left")[0],
        np.searchsorted(hashes, [statistics.max.encode()], "right")[0],
    )
    return bool(low < high)


def _bucket(storage: Storage, record: FileRecord, bucket: str) -> pa.Table:
    if not may_hold(record, bucket):
        return PAIRS.empty_table()
    bounds = [("query_hash", ">=", bucket), ("query_hash", "<", bucket + "g")]
    return pq.read_table(local_file(storage, record), filters=bounds, partitioning=None).cast(PAIRS)


def _store(storage: Storage, teacher: str) -> Segments:
    return Segments(storage, f"pairs/{teacher}")
