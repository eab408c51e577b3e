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
from tasks.store.keys import digest
from tasks.store.manifest import FileRecord, is_there
from tasks.store.output import Output
from tasks.store.pointers import read_pointer, update_pointer
from tasks.store.seal import find_record, put_record
from tasks.store.storage import Storage
from tasks.store.tables import local_file

MAX_SEGMENTS = 16
_BUCKETS = "0123456789abcdef"
_KEYS = ["query_hash", "doc_hash"]


def put_marker(storage: Storage, teacher: str, key: str, record: FileRecord) -> None:
    """Make a written segment known.

    Args:
        storage: the root.
        teacher: fingerprint.
        key: of the partition that wrote it.
        record: the file.
    """
    put_record(storage, f"{_folder(teacher)}{key}.json", record)


def segments(storage: Storage, teacher: str) -> list[FileRecord]:
    """The files that hold a teacher's pairs now: what a stage pins at its start. Files that are gone are left out."""
    merged, fresh = _state(storage, teacher)
    return [*merged, *fresh.values()]


def pin(storage: Storage, teacher: str, limit: int = MAX_SEGMENTS) -> list[FileRecord]:
    """:func:`segments`, merged first where there are more than ``limit`` of them."""
    _, fresh = _state(storage, teacher)
    if len(fresh) > limit:
        compact(storage, teacher)
    return segments(storage, teacher)


def compact(storage: Storage, teacher: str) -> bool:
    """Merge all segments into a new generation.

    Returns:
        False if another process moved the pointer meanwhile; its generation stands, and what this one wrote is not used.
    """
    before = read_pointer(storage, _pointer(teacher))
    merged, fresh = _state(storage, teacher)
    replaced = sorted({*((before or {}).get("markers", [])), *fresh})
    folder = f"pairs/{teacher}/{digest(replaced)}"
    output = Output(storage, folder)
    for bucket in _BUCKETS:
        pieces = [_bucket(storage, record, bucket) for record in [*merged, *fresh.values()]]
        table = first_of_each(pa.concat_tables(pieces))
        if table.num_rows:
            output.table(f"b={bucket}.parquet", table)
    wanted = {"files": [record.model_dump(mode="json") for record in output.files], "markers": replaced}
    return update_pointer(storage, _pointer(teacher), lambda now: wanted if now == before else None) == wanted


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
    if record.name.startswith("b=") and record.name != f"b={bucket}.parquet":
        return PAIRS.empty_table()
    bounds = [("query_hash", ">=", bucket), ("query_hash", "<", bucket + "g")]
    return pq.read_table(local_file(storage, record), filters=bounds, partitioning=None).cast(PAIRS)


def _state(storage: Storage, teacher: str) -> tuple[list[FileRecord], dict[str, FileRecord]]:
    """The merged generation's files, and the segments that came after it, by marker."""
    pointer = read_pointer(storage, _pointer(teacher)) or {"files": [], "markers": []}
    merged = [FileRecord.model_validate(record) for record in pointer["files"]]
    if not all(is_there(storage, record) for record in merged):
        merged, pointer = [], {"files": [], "markers": []}
    replaced = set(pointer["markers"])
    fresh = {}
    for name in storage.list_names(_folder(teacher)):
        marker = name.removeprefix(_folder(teacher)).removesuffix(".json")
        if marker not in replaced:
            record = find_record(storage, name, FileRecord)
            if record is not None and is_there(storage, record):
                fresh[marker] = record
    return merged, fresh


def _folder(teacher: str) -> str:
    return f"manifests/pairs/{teacher}/"


def _pointer(teacher: str) -> str:
    return f"pairs/{teacher}"
