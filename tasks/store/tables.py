"""Tables and arrays in committed files: deterministic bytes out, checked reads in."""

from __future__ import annotations

import mmap
import threading
import tokenize
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.store.explained import written
from tasks.store.manifest import FileRecord, Part
from tasks.store.storage import Storage, checked_copy, keep_file

ROW_GROUP = 65_536
_PARSING = threading.Lock()


def write_parquet(table: pa.Table, path: Path, row_group: int = ROW_GROUP) -> None:
    """Write a table so that equal tables give equal bytes (one library version, no metadata of ours)."""
    pq.write_table(table.replace_schema_metadata(None), path, compression="zstd", row_group_size=row_group, store_schema=False)


def keep_table(storage: Storage, folder: str, table: pa.Table) -> tuple[str, int, str]:
    """Put a table under the root by its content, as :func:`tasks.store.storage.keep_file` does a file.

    Returns:
        (path under the root, bytes, checksum).
    """
    local = storage.scratch() / f"{uuid.uuid4().hex}.parquet"
    with written(local):
        write_parquet(table, local)
    return keep_file(storage, folder, local)


def read_kept(storage: Storage, path: str, size: int, checksum: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A Parquet file of the root as a table; without pyarrow.dataset, which ``pq.read_table`` loads, and with it pandas.

    Args:
        storage: the root.
        path: under it.
        size: bytes that were written.
        checksum: of them.
        columns: those wanted, in this order; none: all.

    Raises:
        StorageError: it is missing or damaged.
    """
    with pq.ParquetFile(checked_copy(storage, path, size, checksum)) as file:
        table = file.read(list(columns) if columns else None)
    return table.select(list(columns)) if columns else table


def local_file(storage: Storage, record: FileRecord) -> Path:
    """A local path with a committed file's content.

    Raises:
        StorageError: it is missing, or its size is not the recorded one.
    """
    return checked_copy(storage, record.path, record.bytes, record.checksum)


def read_table(storage: Storage, record: FileRecord, columns: Sequence[str] | None = None) -> pa.Table:
    """A committed Parquet file as a table: :func:`read_kept`."""
    return read_kept(storage, record.path, record.bytes, record.checksum, columns)


def whole_numbers(column: pa.ChunkedArray | pa.Array, missing: int = 0) -> NDArray[np.int64]:
    """Integers or booleans as int64, read-only; without pyarrow's ``to_numpy``, which imports pandas: a run from cache does without.

    Args:
        column: n values.
        missing: stands for NULL.

    >>> whole_numbers(pa.chunked_array([[3, None], [5]]), missing=-1).tolist()
    [3, -1, 5]
    """
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    values = _buffer(whole.cast(pa.uint8()) if pa.types.is_boolean(whole.type) else whole)
    return values if not whole.null_count else np.where(_buffer(whole.is_valid().cast(pa.uint8())) > 0, values, missing)


def _buffer(array: pa.Array) -> NDArray[np.int64]:
    """Values of an integer array; where it is NULL, anything."""
    numbers = array.cast(pa.int64())
    return np.frombuffer(numbers.buffers()[1] or b"", np.int64, len(numbers), numbers.offset * 8)


def read_array(storage: Storage, record: FileRecord) -> NDArray[Any]:
    """A committed ``.npy`` file, memory-mapped; never unpickled."""
    return map_array(local_file(storage, record))


def map_array(path: Path) -> NDArray[Any]:
    """A ``.npy`` file, memory-mapped: no pickle, no archive.

    Headers are parsed one at a time: numpy takes Python's parser for them, whose depth count several threads spoil (Python 3.11).

    Raises:
        ValueError: it is something else.
    """
    try:
        with _PARSING:
            array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except (SyntaxError, TypeError, OverflowError, RecursionError, tokenize.TokenError) as error:  # what a spoilt header raises
        raise ValueError(f"its header cannot be read: {error}") from error
    return array


def let_go(array: NDArray[Any]) -> None:
    """Take a mapped file's pages out of this process' memory, until they are read again: else all that was ever touched stays resident."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def read_parts(storage: Storage, parts: Iterable[Part], name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """One file of several parts, one after the other, in the parts' order."""
    return pa.concat_tables([read_table(storage, part.file(name), columns) for part in parts])


def take_texts(storage: Storage, parts: Sequence[Part], partition: NDArray[Any], row: NDArray[Any], columns: Sequence[str]) -> pa.Table:
    """Rows of partitioned documents by address: a sorted semi-join, one document partition in memory at a time.

    Args:
        storage: the root.
        parts: the document partitions, in order.
        partition: int array, shape (n,): the part that each wanted row lies in.
        row: int array, shape (n,): its row there.
        columns: what to fetch from ``docs.parquet``.

    Returns:
        A table of n rows, in the order asked for.
    """
    if len(partition) == 0:
        return read_table(storage, parts[0].file("docs.parquet"), columns).slice(0, 0)
    order = np.lexsort((row, partition))
    pieces = []
    for number in np.unique(partition):
        wanted = row[order][partition[order] == number]
        pieces.append(read_table(storage, parts[int(number)].file("docs.parquet"), columns).take(pa.array(wanted)))
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    return pa.concat_tables(pieces).take(pa.array(back)).combine_chunks()
