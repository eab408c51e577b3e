"""Rows of a file that came back from reviewers, whatever program saved it: CSV with any delimiter, JSON lines, a JSON array."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tasks.errors import InputError

_DELIMITERS = (",", ";", "\t", "|")
_SEPARATOR = re.compile(r"\ufeff?sep=(.)\r?\n")
_MOST_BREAKS = 200


class Row(NamedTuple):
    """A row: the line it begins at, its values by column (names in lower case), and why it cannot be read, if so."""

    line: int
    values: Mapping[str, Any]
    problem: str = ""
    mend: str = ""


def read_rows(path: Path) -> list[Row]:
    """All rows that hold something; a row that cannot be read has a problem, the others are unharmed.

    Raises:
        InputError: the file cannot be opened, or has no column ``label``.
    """
    try:
        text = _decoded(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}", "check the path and its permissions") from error
    start = text.lstrip()[:1]
    if start == "[":
        return list(_json_array(path, text))
    if start == "{" or path.suffix in (".jsonl", ".json"):
        return list(_json_lines(text))
    return list(_delimited(path, text))


def _decoded(data: bytes) -> str:
    """UTF-8, or what older spreadsheets write: UTF-16 with its mark, else Windows-1252. Labels and ids are the same in all."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _json_lines(text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _json_row(number, line)


def _json_row(number: int, line: str) -> Row:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Row(number, {}, f"bad JSON ({error})", "mend the line, or copy it anew from the exported file")
    return _object(number, value)


def _json_array(path: Path, text: str) -> Iterator[Row]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: bad JSON ({error})", "save it as JSON lines, one object a line") from error
    yield from (_object(number, value) for number, value in enumerate(values, 1))


def _object(number: int, value: Any) -> Row:
    if not isinstance(value, dict):
        return Row(number, {}, "not a JSON object", 'write it as {"pair": …, "label": …}')
    return Row(number, {name.strip().casefold(): inner for name, inner in value.items()})


def _delimited(path: Path, text: str) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    skipped = 0
    named = _SEPARATOR.match(text)
    if named:
        text, skipped = text[named.end() :], 1
    delimiter = named.group(1) if named else _delimiter(path, text)
    lines = io.StringIO(text, newline="").readlines()
    records = _records(lines, delimiter)
    header = [name.strip().casefold() for name in next(records, (1, [], ""))[1]]
    if "label" not in header:
        raise InputError(
            f"{path}: there is no column 'label'; it has {', '.join(header) or 'none'}", "keep the first line that export wrote"
        )
    for line, fields, problem in records:
        if problem or any(field.strip() for field in fields):
            yield _row(line + skipped, fields, problem, header)


def _delimiter(path: Path, text: str) -> str:
    """The delimiter with which the first line has a column ``label``."""
    first = text.splitlines()[0] if text.strip() else ""
    for delimiter in _DELIMITERS:
        if "label" in [name.strip().casefold() for name in next(csv.reader([first], delimiter=delimiter), [])]:
            return delimiter
    raise InputError(f"{path}: there is no column 'label' in the first line", "keep the first line that export wrote; save as CSV, UTF-8")


def _records(lines: list[str], delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """(line, fields, problem). After a record with wrong quotes, reading goes on with the next line of the file."""
    start = 0
    for _ in range(_MOST_BREAKS):
        reader = csv.reader(lines[start:], delimiter=delimiter, strict=True)
        line = start
        try:
            for fields in reader:
                yield line + 1, fields, ""
                line = start + reader.line_num
            return
        except csv.Error as error:
            yield line + 1, [], f"wrong quotes ({error})"
            start = line + 1
    yield start + 1, [], f"over {_MOST_BREAKS} rows with wrong quotes; the rest was not read"


def _row(line: int, fields: list[str], problem: str, header: list[str]) -> Row:
    if problem:
        return Row(line, {}, problem, 'write a quote inside a field as "", or copy the row anew from the exported file')
    if any(field.strip() for field in fields[len(header) :]):
        return Row(line, {}, f"{len(fields)} fields where there are {len(header)} columns", "put fields that hold the delimiter in quotes")
    padded = fields + [""] * (len(header) - len(fields))
    return Row(line, dict(zip(header, padded, strict=False)))
