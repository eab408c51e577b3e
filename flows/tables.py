"""Query results on a terminal: columns that fit its width, numbers to the right, one wide row written downwards."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

MAX_ROWS = 200
NULL = "NULL"
_FRAME = 3  # a column's separator and padding
_TEXT_MIN = 16
_HEADER_MIN = 10
_LONGEST = 20_000
_LINES, _CHARACTERS = 8, 300  # whichever is more: of one value that stands among others, downwards


def print_table(console: Console, table: pa.Table, max_rows: int | None = MAX_ROWS) -> None:
    """Print a result so that no line is wider than the console.

    One row that does not fit is written downwards, none of several values much longer than eight lines. Else long texts and names are
    cut (…), and columns that still do not fit are left out; a note below names what is cut downwards or left out.

    Args:
        console: where to; its width counts.
        table: the result; names may repeat.
        max_rows: rows to show; none: all.
    """
    shown = table.slice(0, max_rows)
    columns = [cells(column) for column in shown.columns]
    numeric = [is_number(field.type) for field in table.schema]
    widths = fit(table.column_names, columns, numeric, console.width)
    natural = sum(_widest(name, column) + _FRAME for name, column in zip(table.column_names, columns, strict=True)) + 1
    if table.num_rows == 1 and natural > console.width:
        downwards, shortened = _downwards(table.column_names, columns, console.width)
        console.print(downwards)
        note = f"1 row; shortened: {plain(', '.join(shortened))} (ask for it alone, or --format json)" if shortened else "1 row"
    else:
        console.print(_across(table.column_names, columns, numeric, widths))
        note = _note(table.num_rows, shown.num_rows, table.column_names[len(widths) :], table.num_columns)
    console.print(Text(note, style="dim"), highlight=False)


def cells(column: pa.ChunkedArray) -> list[str | None]:
    """A column's values as they are shown, each in one line; ``None`` for NULL."""
    return [None if value is None else _one_line(spell(value)) for value in python_values(column)]


def python_values(column: pa.ChunkedArray) -> list[Any]:
    """A column's values; as texts where Python has none for them (dates beyond the year 9999)."""
    try:
        return list(column.to_pylist(maps_as_pydicts="lossy"))
    except (OverflowError, ValueError):
        pass
    try:
        return list(column.cast(pa.string()).to_pylist())
    except pa.ArrowException:
        return [None if value.is_valid is False else "(a value that cannot be shown)" for value in column]


def spell(value: Any) -> str:
    """A value in words of SQL: six digits of a fraction, true and false, lists in brackets."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, pa.MonthDayNano):
        return _interval(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(spell, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{spell(name)}: {spell(inner)}" for name, inner in value.items()) + "}"
    return str(value)


def plain(text: str) -> str:
    r"""A text that cannot steer a terminal: white space is a space, other control and direction characters are spelt out.

    >>> print(plain("two\nlines \x1b[31m"))
    two lines \x1b[31m
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(" " if one.isspace() else _spelt(one) if unicodedata.category(one) in ("Cc", "Cf", "Cs") else one for one in text)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type is aligned to the right."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def fit(names: Sequence[str], columns: Sequence[Sequence[str | None]], numeric: Sequence[bool], width: int) -> list[int]:
    """Widths of the leading columns that fit.

    Numbers are never cut. Texts are cut to 16 characters and names to 10 before a column is left out; the room that is
    left goes evenly to those that were cut.

    Args:
        names: the columns' names.
        columns: their cells.
        numeric: which hold numbers.
        width: characters of a line.

    Returns:
        One width for each column shown, at least one.
    """
    full = [_widest(name, column) for name, column in zip(names, columns, strict=True)]
    least = []
    for name, column, number, whole in zip(names, columns, numeric, full, strict=True):
        content = _widest("", column)
        least.append(max(content, min(cell_len(name), _HEADER_MIN)) if number else min(whole, _TEXT_MIN))
    count = len(least)
    while count > 1 and sum(least[:count]) + _FRAME * count + 1 > width:
        count -= 1
    widths = least[:count]
    room = width - sum(widths) - _FRAME * count - 1
    if room < 0:
        return [max(1, widths[0] + room)] if widths else []
    order = sorted(range(count), key=lambda place: full[place] - widths[place])
    for done, place in enumerate(order):
        more = min(full[place] - widths[place], room // (count - done))
        widths[place] += more
        room -= more
    return widths


def _widest(name: str, column: Sequence[str | None]) -> int:
    return max(cell_len(plain(name)), max((cell_len(NULL if cell is None else cell) for cell in column), default=0), 1)


def _across(names: Sequence[str], columns: Sequence[Sequence[str | None]], numeric: Sequence[bool], widths: Sequence[int]) -> Table:
    shown = Table()
    for name, number, width in zip(names, numeric, widths, strict=False):
        shown.add_column(Text(plain(name)), justify="right" if number else "left", width=width, no_wrap=True, overflow="ellipsis")
    for row in zip(*columns[: len(widths)], strict=True):
        shown.add_row(*map(_cell, row))
    return shown


def _downwards(names: Sequence[str], columns: Sequence[Sequence[str | None]], width: int) -> tuple[Table, list[str]]:
    """One row, and the names of the columns whose value is shortened."""
    names_width = min(max(_widest(name, []) for name in names), width // 2)
    shown = Table(show_header=False)
    shown.add_column(style="bold", overflow="fold", width=names_width)
    room = min(max(_widest("", column) for column in columns), max(1, width - names_width - 2 * _FRAME - 1))
    shown.add_column(overflow="fold", width=room)
    most = max(_LINES * room, _CHARACTERS) if len(names) > 1 else _LONGEST
    shortened = []
    for name, column in zip(names, columns, strict=True):
        cell = _cell(column[0])
        if cell.cell_len > most:
            shortened.append(name)
            cell.truncate(most - room // 2, overflow="ellipsis")  # lines break at words, so that they are not all full
        shown.add_row(Text(plain(name)), cell)
    return shown, shortened


def _cell(cell: str | None) -> Text:
    return Text(NULL, style="dim italic") if cell is None else Text(cell)


def _note(rows: int, shown: int, left_out: Sequence[str], columns: int) -> str:
    counted = f"{shown:,} of {rows:,} rows" if shown < rows else f"{rows:,} row{'' if rows == 1 else 's'}"
    if not left_out:
        return counted + (" (LIMIT and OFFSET page through them, --format csv gives all)" if shown < rows else "")
    return (
        f"{counted}; {columns - len(left_out)} of {columns} columns (name fewer, or --format csv); left out: {plain(', '.join(left_out))}"
    )


def _interval(value: pa.MonthDayNano) -> str:
    parts = ((value.months, "months"), (value.days, "days"), (value.nanoseconds / 1e9, "seconds"))
    return " ".join(f"{number:g} {unit}" for number, unit in parts if number) or "0 seconds"


def _one_line(text: str) -> str:
    return plain(text) if len(text) <= _LONGEST else plain(text[:_LONGEST]) + "…"


def _spelt(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65_536 else f"\\U{code:08x}"
