"""``hardmine sql``: results as a table, CSV, JSON or Parquet, and the interactive prompt."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape

from flows.tables import print_table, python_values, spell
from tasks.errors import HardmineError, UsageError, nearest
from tasks.sql import query_snapshot

OUTPUTS = ("table", "csv", "json", "parquet")
_PARAMETER = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_WIDE = 100_000


def answer(
    console: Console,
    snapshot: Path,
    query: str,
    output: str = "table",
    target: Path | None = None,
    parameters: Sequence[str] = (),
    timeout: float = 60.0,
) -> None:
    """Ask one query and write its result.

    Args:
        console: for tables.
        snapshot: the audit's file.
        query: one SELECT.
        output: one of :data:`OUTPUTS`.
        target: a file; none: standard output.
        parameters: ``name=value`` for each ``$name`` of the query.
        timeout: seconds after which the query is stopped.

    Raises:
        UsageError: wrong output or parameter (nothing is asked then), or the query is refused, wrong or takes too much.
        StorageError: the snapshot cannot be read.
    """
    check_output(output, target)
    write_result(console, query_snapshot(snapshot, query, parse_parameters(parameters) or None, timeout), output, target)


def parse_parameters(given: Sequence[str]) -> dict[str, str]:
    """``name=value`` as SQL parameters. All values are texts; SQL takes a text as what it is compared with.

    >>> parse_parameters(["query=42", "least=0.5"])
    {'query': '42', 'least': '0.5'}

    Raises:
        UsageError: no name, a name that SQL cannot have, or the same name twice.
    """
    parameters: dict[str, str] = {}
    for one in given:
        match = _PARAMETER.fullmatch(one)
        if match is None:
            raise UsageError(f"--param {one}: not name=value", "write it as in --param query=42, and $query in the SQL")
        name, value = match.groups()
        if name in parameters:
            raise UsageError(f"--param {name} is given twice", "leave one of them out")
        parameters[name] = value
    return parameters


def check_output(output: str, target: Path | None) -> None:
    """Refuse an output that cannot be written, before anything is asked.

    Raises:
        UsageError: unknown output, or Parquet without a file.
    """
    if output not in OUTPUTS:
        raise UsageError(f"--format {output}: unknown", nearest(output, OUTPUTS))
    if output == "parquet" and target is None:
        raise UsageError("--format parquet needs a file", "give one with --out")


def write_result(console: Console, table: pa.Table, output: str, target: Path | None) -> None:
    """Write a query's result.

    Columns of the same name get a number, but not in a table for people. NULL is an empty field in CSV (an empty text is
    ``""``) and ``null`` in JSON, as are NaN and infinities there.

    Args:
        console: for tables.
        table: the result.
        output: one of :data:`OUTPUTS`.
        target: a file; none: standard output.

    Raises:
        UsageError: as :func:`check_output`.
    """
    check_output(output, target)
    if output == "table":
        _write_table(console, table, target)
        return
    table = table.rename_columns(unique_names(table.column_names))
    if output == "parquet" and target is not None:
        with target.open("wb") as file:
            pq.write_table(_plain_types(table, {"union", "interval"}), file)
        return
    text = _csv(table) if output == "csv" else _json(table)
    if target is None:
        sys.stdout.write(text)
    else:
        target.write_text(text, encoding="utf-8")


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, repeated ones with a number.

    >>> unique_names(["n", "n", "n_2"])
    ['n', 'n_3', 'n_2']
    """
    taken = set(names)
    unique: list[str] = []
    for name in names:
        chosen, number = name, 1
        while chosen in unique or (number > 1 and chosen in taken):
            number += 1
            chosen = f"{name}_{number}"
        unique.append(chosen)
    return unique


def prompt(console: Console, snapshot: Path, timeout: float) -> None:
    """Read one SELECT after another until the end of input; ``;`` ends a statement, Ctrl-C stops it."""
    import readline

    readline.set_auto_history(True)
    console.print(f"audit {snapshot.name}; SHOW TABLES lists what there is, Ctrl-D ends", style="dim", highlight=False)
    pending = ""
    while True:
        try:
            line = input("     … " if pending else "audit> ")
            pending = f"{pending}\n{line}" if pending else line
            if not pending.strip():
                pending = ""
            elif pending.rstrip().endswith(";"):
                statement, pending = pending, ""
                _reply(console, snapshot, statement, timeout)
        except EOFError:
            console.print()
            return
        except KeyboardInterrupt:
            pending = ""
            console.print()


def _reply(console: Console, snapshot: Path, statement: str, timeout: float) -> None:
    try:
        print_table(console, query_snapshot(snapshot, statement, timeout=timeout))
    except HardmineError as error:
        console.print(f"[red]{escape(error.message)}[/red]\n{escape(error.mend)}", highlight=False)


def _write_table(console: Console, table: pa.Table, target: Path | None) -> None:
    if target is None:
        print_table(console, table)
        return
    with target.open("w", encoding="utf-8") as file:
        print_table(Console(file=file, width=_WIDE, no_color=True), table, max_rows=None)


def _csv(table: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    pcsv.write_csv(_plain_types(table, {"nested", "union", "interval", "binary"}), sink)
    return bytes(sink.getvalue()).decode()


def _json(table: pa.Table) -> str:
    columns = [[_jsonable(value) for value in python_values(column)] for column in table.columns]
    rows = [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]
    return json.dumps(rows, ensure_ascii=False, allow_nan=False) + "\n"


def _plain_types(table: pa.Table, without: set[str]) -> pa.Table:
    """The table with columns of some kinds as texts: JSON where they are nested."""
    for place, field in enumerate(table.schema):
        if without & _kinds(field.type):
            values = [_jsonable(value) for value in python_values(table.column(place))]
            texts = [value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values]
            table = table.set_column(place, field.name, pa.array(texts, pa.string()))
    return table


def _kinds(kind: pa.DataType) -> set[str]:
    tests = {
        "union": pa.types.is_union,
        "nested": pa.types.is_nested,
        "interval": pa.types.is_interval,
        "binary": lambda one: pa.types.is_binary(one) or pa.types.is_large_binary(one),
    }
    inner = [kind.field(number).type for number in range(kind.num_fields)] if pa.types.is_nested(kind) else []
    return {name for name, test in tests.items() if test(kind)}.union(*(_kinds(one) & {"union", "interval"} for one in inner))


def _jsonable(value: Any) -> Any:
    """A value as JSON has it: whole decimals as integers, others as floats, bytes in hex, dates as texts."""
    if isinstance(value, Mapping):
        return {str(name): _jsonable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_jsonable(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, str | int) else spell(value)
