"""Rows of a given source's files: (query, document or text, score or rank), each with its file and line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from tasks.errors import InputError
from tasks.foreign import checked, repair

_ENDINGS = {".jsonl": "jsonl", ".json": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
_RUN_FIELDS = 6
_BATCH = 8_192
_LARGEST = {"score": 3.4e38, "rank": 2**31 - 1}  # what the tables hold: float32, int32


class Row(NamedTuple):
    """One candidate of a file. ``score`` is NaN where there is none; ``rank`` is then its place, from 1."""

    query: str
    document: str
    score: float
    rank: int
    line: int


def kind_of(path: Path) -> str:
    """jsonl, csv or parquet, by a table's ending.

    Raises:
        InputError: the ending is unknown.
    """
    kind = _ENDINGS.get(Path(path.stem).suffix if path.suffix == ".gz" else path.suffix)
    if kind is None or (kind == "parquet" and path.suffix == ".gz"):
        raise InputError(f"{path}: cannot tell what kind of file this is", "name it .jsonl, .csv or .tsv (each also .gz), or .parquet")
    return kind


def run_rows(path: Path) -> Iterator[Row]:
    """A TREC run: ``query Q0 document rank score tag`` a line, between white space. As in trec_eval the score decides, not the rank.

    Raises:
        InputError: a line has other fields, or a score that is no number.
    """
    with _lines(path) as lines:
        for line, text in enumerate(lines, 1):
            fields = text.split()
            if not fields:
                continue
            if len(fields) != _RUN_FIELDS:
                raise InputError(
                    f"{path}:{line}: {len(fields)} fields, and a line of a TREC run has six: query Q0 document rank score tag",
                    "mend the line; a file of (query, document, score) in columns is a source of kind table",
                )
            yield Row(fields[0], fields[2], _number(path, line, "score", fields[4]), 0, line)


def records(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows of a table by column name, each with its line (in Parquet its row), from 1.

    Raises:
        InputError: the file is not what its ending says.
    """
    readers = {"jsonl": _json_records, "csv": _csv_records, "parquet": _parquet_records}
    return readers[kind_of(path)](path)


def _json_records(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with _lines(path) as lines:
        for line, text in enumerate(lines, 1):
            if not text.strip():
                continue
            try:
                values = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}:{line}: not JSON ({error})", "mend the line") from error
            if not isinstance(values, dict):
                raise InputError(f"{path}:{line}: not a JSON object", "write one object a line")
            yield line, values


def _csv_records(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    delimiter = "\t" if path.name.removesuffix(".gz").endswith(".tsv") else ","
    csv.field_size_limit(sys.maxsize)
    with _lines(path) as lines:
        reader = csv.reader(lines, delimiter=delimiter)
        header = _next(path, reader) or []
        while True:
            line = reader.line_num + 1
            fields = _next(path, reader)
            if fields is None:
                return
            if fields and len(fields) != len(header):
                raise InputError(f"{path}:{line}: {len(fields)} fields where there are {len(header)} columns", "mend the line")
            if fields:
                yield line, dict(zip(header, fields, strict=True))


def _next(path: Path, reader: Any) -> list[str] | None:
    try:
        return next(reader, None)
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: not CSV ({error})", "mend the line") from error


def _parquet_records(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                for values in checked(batch).to_pylist():
                    row += 1
                    yield row, values
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: a text in rows {row + 1:,} to {row + _BATCH:,} is not UTF-8", "write the file again") from error
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: damaged Parquet file ({error})", "write the file again") from error


def table_rows(path: Path, columns: Mapping[str, tuple[str, ...]]) -> Iterator[Row]:
    """A table of query id, document id, and a score or a rank.

    Args:
        path: the file.
        columns: names to try, for query_id, doc_id, score and rank.

    Raises:
        InputError: a row lacks an id, or both score and rank.
    """
    for line, values in records(path):
        query, document = (identifier(path, line, name, values, columns[name]) for name in ("query_id", "doc_id"))
        score, rank = (first(values, columns[name]) for name in ("score", "rank"))
        if score is None and rank is None:
            raise InputError(
                f"{path}:{line}: neither a score ({' or '.join(columns['score'])}) nor a rank ({' or '.join(columns['rank'])})",
                "give every row one of them; columns.score and columns.rank name their columns",
            )
        if score is not None:
            yield Row(query, document, _number(path, line, "score", score), 0, line)
        else:
            yield Row(query, document, math.nan, int(_number(path, line, "rank", rank)), line)


def identifier(path: Path, line: int, field: str, values: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """A row's id.

    Raises:
        InputError: there is none, or it cannot be one.
    """
    value = first(values, names)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(
            f"{path}:{line}: no {field} (column {' or '.join(names)}; there are {', '.join(map(str, values))})",
            f"set columns.{field} to the column that holds it",
        )
    return as_id(path, line, field, value)


def as_id(path: Path, line: int, field: str, value: Any) -> str:
    """A value as an id: a string, or a whole number.

    Raises:
        InputError: it is something else, or has characters that no id of a dataset has.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(f"{path}:{line}: the {field} is neither a string nor a whole number", "mend the line, or leave it out")
    if isinstance(value, str) and repair(value) is not value:
        raise InputError(f"{path}:{line}: the {field} has a NUL or a lone surrogate", "mend the line, or leave it out")
    return str(value)


def first(values: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The first of some columns that holds something, or ``None``."""
    return next((values[name] for name in names if values.get(name) not in (None, "")), None)


def _number(path: Path, line: int, field: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= _LARGEST[field]:  # so is NaN
        raise InputError(
            f"{path}:{line}: the {field} is no finite number{' of 32 bits' * math.isfinite(number)}: {str(value)[:40]!r}",
            "mend the line, or leave it out",
        )
    return number


@contextmanager
def _lines(path: Path) -> Iterator[TextIO]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as opened:
            yield io.TextIOWrapper(opened, encoding="utf-8-sig", newline="")  # type: ignore[arg-type]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text", "save the file as UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error})", "check the file, copy or pack it again") from error
