"""CSV and TSV, plain or gzip."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.corpus.readers.rows import BATCH, Cursor, Dialect, Raw, open_bytes
from tasks.errors import InputError


def read(path: Path, dialect: Dialect, cursor: Cursor) -> Iterator[Raw]:
    """One row a record; ``line`` is where the record begins, also after quoted line ends. Blank lines are no rows.

    A record that is not UTF-8, is quoted wrongly, or has not the header's number of fields is set aside alone.

    Raises:
        InputError: a quote is never closed, so that what follows cannot be told apart.
    """
    csv.field_size_limit(sys.maxsize)
    with open_bytes(path, cursor) as (handle, advance):
        text = io.TextIOWrapper(handle, encoding="utf-8-sig", errors="surrogateescape", newline="")
        records = _records(path, _reader(text, dialect))
        header = dialect.header
        for number, (line, fields, reason) in enumerate(records):
            if number % BATCH == 0:
                advance()
            if number == 0 and (not header or _is_header(fields, header)):
                if reason:
                    raise InputError(
                        f"{path}:{line}: the header cannot be read ({reason})", "save the file as UTF-8 text with a header line"
                    )
                header = header or tuple(fields)
                continue
            yield _row(line, fields, reason, header, dialect)
        text.detach()
        advance()


def header_of(path: Path, dialect: Dialect) -> tuple[str, ...]:
    """The header line's fields; empty if the file has no line."""
    with open_bytes(path, Cursor()) as (handle, _):
        text = io.TextIOWrapper(handle, encoding="utf-8-sig", errors="surrogateescape", newline="")
        first = next(_records(path, _reader(text, dialect)), None)
        text.detach()
    return tuple(first[1]) if first else ()


def _reader(text: io.TextIOWrapper, dialect: Dialect) -> Any:
    if dialect.quoted:
        return csv.reader(text, delimiter=dialect.delimiter, strict=True)
    return csv.reader(text, delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE)


def _records(path: Path, reader: Any) -> Iterator[tuple[int, list[str], str]]:
    """(line, fields, reason) of every record that is not blank."""
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise InputError(
                    f"{path}:{line}: a quote is opened here and never closed", 'close it, or write a quote inside a field as ""'
                ) from error
            yield line, [], f"bad CSV: {error}"
            continue
        if fields:
            yield line, fields, "not UTF-8" if _undecoded(fields) else ""


def _undecoded(fields: list[str]) -> bool:
    return any(not field.isascii() and any("\udc80" <= character <= "\udcff" for character in field) for field in fields)


def _is_header(fields: list[str], names: tuple[str, ...]) -> bool:
    """Whether a first record names columns: its last field is then no number."""
    if len(fields) != len(names):
        return False
    try:
        float(fields[-1])
    except ValueError:
        return True
    return False


def _row(line: int, fields: list[str], reason: str, header: tuple[str, ...], dialect: Dialect) -> Raw:
    content = dialect.delimiter.join(fields)
    if not reason and len(fields) != len(header):
        reason = f"{len(fields)} fields where there are {len(header)} columns"
    return Raw(line, {} if reason else dict(zip(header, fields, strict=True)), content, reason)
