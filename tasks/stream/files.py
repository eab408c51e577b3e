"""Rows of training files, a block at a time: a row group of Parquet, as many lines of JSONL."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import UsageError
from tasks.store.storage import Storage, checked_copy
from tasks.store.tables import ROW_GROUP
from tasks.stream.order import Ints

Row = dict[str, Any]
_AT_ONCE = 1_024


@dataclass(frozen=True)
class StreamFile:
    """A training file, as the pointer lists it."""

    path: str
    bytes: int
    checksum: str
    rows: int


@dataclass(frozen=True)
class Block:
    """Rows that are read at once: ``start … start + rows - 1`` of a file."""

    file: StreamFile
    start: int
    rows: int


def blocks_of(files: Sequence[StreamFile]) -> list[Block]:
    """The files' blocks, in order.

    Raises:
        UsageError: a file is no table of rows.
    """
    for file in files:
        if not file.path.endswith((".parquet", ".jsonl")):
            raise UsageError(
                f"{file.path} is one file for a whole trainer, and no rows to stream",
                "stream another format, or `hardmine export` this one",
            )
    return [Block(file, start, min(ROW_GROUP, file.rows - start)) for file in files for start in range(0, file.rows, ROW_GROUP)]


def read_rows(storage: Storage, block: Block, wanted: Ints) -> Iterator[Row]:
    """Some rows of a block, in the order asked for.

    Args:
        storage: the root; a file of S3 is fetched first, and each is compared with its checksum.
        block: which rows of which file.
        wanted: row numbers within the block.

    Raises:
        StorageError: the file is gone or damaged.
    """
    path = checked_copy(storage, block.file.path, block.file.bytes, block.file.checksum)
    if block.file.path.endswith(".parquet"):
        table = _row_group(path, block)
        for start in range(0, len(wanted), _AT_ONCE):
            yield from table.take(pa.array(wanted[start : start + _AT_ONCE])).to_pylist()
        return
    with path.open("rb") as handle:
        lines = list(itertools.islice(handle, block.start, block.start + block.rows))
    for number in wanted.tolist():
        yield json.loads(lines[number])


def columns_of(storage: Storage, file: StreamFile) -> pa.Schema:
    """Names and types of a file's columns."""
    path = checked_copy(storage, file.path, file.bytes, file.checksum)
    if file.path.endswith(".parquet"):
        return pq.read_schema(path)
    with path.open("rb") as handle:
        return pa.Table.from_pylist([json.loads(line) for line, _ in zip(handle, range(100), strict=False)]).schema


def _row_group(path: Path, block: Block) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read_row_group(block.start // ROW_GROUP)
