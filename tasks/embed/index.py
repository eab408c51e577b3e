"""The index of known vectors: where the vector of each text lies, sorted by hash, in one file for each first hex digit of the hash.

The vectors themselves stay where they are. The pointer ``vectors/<space>`` names the index' generation and moves by
compare-and-swap, so of two writers one stands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.embed.reuse import Hashes, Ints, as_bytes, match
from tasks.embed.segments import Generation, Segment, fresh_segments, pointer_name, present_generation
from tasks.store.keys import digest
from tasks.store.manifest import FileRecord, is_there
from tasks.store.output import Output
from tasks.store.pointers import read_pointer, update_pointer
from tasks.store.storage import Storage
from tasks.store.tables import local_file, read_table

_BUCKETS = "0123456789abcdef"
_INDEX = pa.schema([("input_hash", pa.string()), ("part", pa.int32()), ("row", pa.int64())])


def compact(storage: Storage, space: str) -> bool:
    """Merge all segments into a new generation. One bucket of hashes is in memory at a time.

    Returns:
        False if another process moved the pointer meanwhile; its generation stands, and what this one wrote is not used.
    """
    before = read_pointer(storage, pointer_name(space))
    _, old = present_generation(storage, space)
    fresh = fresh_segments(storage, space, old)
    segments = list(fresh.values())
    alive = [number for number, record in enumerate(old.vectors) if is_there(storage, record)]
    markers = tuple(sorted({*old.markers, *fresh}))
    output = Output(storage, f"vectors/{space}/{digest(list(markers))}")
    for bucket in _BUCKETS:
        pieces = [_moved(storage, old, bucket, alive)]
        pieces += [_of_segment(storage, segment, bucket, len(alive) + number) for number, segment in enumerate(segments)]
        table = _first_of_each(pa.concat_tables(pieces))
        if table.num_rows:
            output.table(f"b={bucket}.parquet", table)
    known = segments[0] if segments else old
    generation = Generation(
        index=tuple(output.files),
        vectors=(*(old.vectors[number] for number in alive), *(segment.vectors for segment in segments)),
        markers=markers,
        dim=known.dim,
        similarity=known.similarity,
    )
    output.data("generation.json", generation.model_dump_json().encode())
    wanted = {"generation": output.files[-1].model_dump(mode="json")}
    return update_pointer(storage, pointer_name(space), lambda now: wanted if now == before else None) == wanted


def look_up(storage: Storage, generation: Generation, wanted: Hashes) -> tuple[Ints, Ints, Ints]:
    """Where the vectors of texts lie.

    Args:
        storage: the root.
        generation: whose index is read.
        wanted: shape (n,): hashes, each once.

    Returns:
        int64, shape (k,) each: places in ``wanted`` that the index knows, numbers of the vectors' files, rows in them.

    Raises:
        StorageError: an index file is gone.
    """
    found = [_in_bucket(storage, record, wanted) for record in generation.index]
    at, part, row = (np.concatenate([np.empty(0, dtype=np.int64), *(one[column] for one in found)]) for column in range(3))
    return at, part, row


def _in_bucket(storage: Storage, record: FileRecord, wanted: Hashes) -> tuple[Ints, Ints, Ints]:
    """Of one index file only row groups whose range of hashes meets a wanted one are read."""
    here = np.flatnonzero(wanted.astype("S1") == record.name[2:3].encode())
    if not len(here):
        return here, here, here
    ordered = np.sort(wanted[here])
    with pq.ParquetFile(local_file(storage, record)) as file:
        groups = [number for number in range(file.num_row_groups) if _may_hold(file, number, ordered)]
        table = file.read_row_groups(groups) if groups else _INDEX.empty_table()
    row = match(wanted[here], as_bytes(table["input_hash"]))
    at = np.flatnonzero(row >= 0)
    part, rows = (np.asarray(table[name].to_numpy(), dtype=np.int64)[row[at]] for name in ("part", "row"))
    return here[at], part, rows


def _may_hold(file: pq.ParquetFile, group: int, ordered: Hashes) -> bool:
    statistics = file.metadata.row_group(group).column(0).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    ends = np.array([statistics.min.encode(), statistics.max.encode()], dtype="S32")
    return bool(np.searchsorted(ordered, ends[0], "left") < np.searchsorted(ordered, ends[1], "right"))


def _of_segment(storage: Storage, segment: Segment, bucket: str, number: int) -> pa.Table:
    hashes = as_bytes(read_table(storage, segment.hashes)["input_hash"])
    rows = np.flatnonzero(hashes.astype("S1") == bucket.encode())
    return _table(hashes[rows], np.full(len(rows), number), rows)


def _moved(storage: Storage, old: Generation, bucket: str, alive: Sequence[int]) -> pa.Table:
    """One bucket of the earlier index, with the new numbers of the files that are still there."""
    for record in old.index:
        if record.name == f"b={bucket}.parquet":
            table = read_table(storage, record)
            number = np.full(len(old.vectors), -1, dtype=np.int64)
            number[list(alive)] = np.arange(len(alive))
            part = number[table["part"].to_numpy()]
            keep = np.flatnonzero(part >= 0)
            return _table(as_bytes(table["input_hash"])[keep], part[keep], table["row"].to_numpy()[keep])
    return _INDEX.empty_table()


def _table(hashes: Hashes, part: NDArray[np.int64], row: NDArray[np.int64]) -> pa.Table:
    columns = [pa.array(hashes.astype("U32").astype(object), pa.string()), pa.array(part, pa.int32()), pa.array(row, pa.int64())]
    return pa.Table.from_arrays(columns, schema=_INDEX)


def _first_of_each(table: pa.Table) -> pa.Table:
    """Sorted by hash; of several vectors of one text, the first stays: they are equal."""
    first = np.unique(as_bytes(table["input_hash"]), return_index=True)[1]
    return table.take(pa.array(first.astype(np.int64))).combine_chunks()
