"""Parquet files, and the Arrow files of a Hugging Face dataset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.corpus.readers.rows import BATCH, Cursor, Dialect, Raw
from tasks.errors import InputError
from tasks.foreign import checked

_MEND = "write the file again"


def read_parquet(path: Path, dialect: Dialect, cursor: Cursor) -> Iterator[Raw]:
    """One row a table row, a batch in memory at a time.

    Raises:
        InputError: the file is damaged.
    """
    size = path.stat().st_size
    try:
        with pq.ParquetFile(path) as file:
            total = max(1, file.metadata.num_rows)
            seen = 0
            for batch in file.iter_batches(batch_size=BATCH):
                yield from _rows(batch, seen)
                seen += batch.num_rows
                cursor.done = size * seen // total
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: damaged Parquet file ({error})", _MEND) from error


def read_arrow(path: Path, dialect: Dialect, cursor: Cursor) -> Iterator[Raw]:
    """The same for an Arrow stream file.

    Raises:
        InputError: the file is damaged.
    """
    try:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_stream(source)
            seen = 0
            for batch in reader:
                for start in range(0, batch.num_rows, BATCH):
                    piece = batch.slice(start, BATCH)
                    yield from _rows(piece, seen)
                    seen += piece.num_rows
                    cursor.done = source.tell()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: damaged Arrow file ({error})", _MEND) from error


def parquet_columns(path: Path) -> tuple[str, ...]:
    """Names of a Parquet file's columns."""
    return tuple(pq.read_schema(path).names)


def arrow_columns(path: Path) -> tuple[str, ...]:
    """Names of an Arrow stream file's columns."""
    with pa.memory_map(str(path)) as source:
        return tuple(pa.ipc.open_stream(source).schema.names)


def _rows(batch: pa.RecordBatch, before: int) -> Iterator[Raw]:
    names = checked(batch).schema.names
    try:
        columns = [column.to_pylist() for column in batch.columns]
    except UnicodeDecodeError:
        for number in range(batch.num_rows):
            yield _single(batch, number, before + number + 1)
        return
    for number, values in enumerate(zip(*columns, strict=True), before + 1):
        yield Raw(number, dict(zip(names, values, strict=True)))


def _single(batch: pa.RecordBatch, row: int, number: int) -> Raw:
    """One row of a batch in which some string is not UTF-8."""
    values: dict[str, Any] = {}
    broken = ""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            values[name] = column[row].as_py()
        except UnicodeDecodeError:
            values[name] = column[row].cast(pa.binary()).as_py().decode("utf-8", "replace") if _is_text(column.type) else "?"
            broken = "not UTF-8"
    return Raw(number, values, reason=broken)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
