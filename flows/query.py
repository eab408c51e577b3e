"""``hardmine sql``: results as a table, CSV, JSON or Parquet, and the interactive prompt."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape

from flows.summary import print_arrow
from tasks.errors import HardmineError, UsageError
from tasks.sql import query_snapshot

OUTPUTS = ("table", "csv", "json", "parquet")


def write_result(console: Console, table: pa.Table, output: str, target: Path | None) -> None:
    """Write a query's result.

    Args:
        console: for tables.
        table: the result.
        output: one of :data:`OUTPUTS`.
        target: a file; none: standard output.

    Raises:
        UsageError: unknown output, or Parquet without a file.
    """
    if output not in OUTPUTS:
        raise UsageError(f"--format {output}: unknown", f"one of {', '.join(OUTPUTS)}")
    if output == "parquet":
        if target is None:
            raise UsageError("--format parquet needs a file", "give one with --out")
        pq.write_table(table, target)
        return
    if output == "table" and target is None:
        print_arrow(console, table)
        return
    text = _csv(table) if output == "csv" else _json(table) if output == "json" else table.to_pandas().to_string(index=False)
    if target is None:
        sys.stdout.write(text)
    else:
        target.write_text(text, encoding="utf-8")


def prompt(console: Console, snapshot: Path, timeout: float) -> None:
    """Read one SELECT after another until the end of input; ``;`` ends a statement."""
    import readline

    readline.set_auto_history(True)
    console.print(f"audit {snapshot.name}; SHOW TABLES lists what there is, Ctrl-D ends", style="dim", highlight=False)
    pending = ""
    while True:
        try:
            line = input("     … " if pending else "audit> ")
        except EOFError:
            console.print()
            return
        except KeyboardInterrupt:
            pending = ""
            console.print()
            continue
        pending = f"{pending}\n{line}" if pending else line
        if not pending.strip():
            pending = ""
        elif pending.rstrip().endswith(";"):
            statement, pending = pending, ""
            _answer(console, snapshot, statement, timeout)


def _answer(console: Console, snapshot: Path, statement: str, timeout: float) -> None:
    try:
        print_arrow(console, query_snapshot(snapshot, statement, timeout=timeout))
    except HardmineError as error:
        console.print(f"[red]{escape(error.message)}[/red]\n{escape(error.mend)}", highlight=False)


def _csv(table: pa.Table) -> str:
    flat = table
    for number, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            flat = flat.set_column(number, field.name, pa.array([json.dumps(value) for value in table[field.name].to_pylist()]))
    sink = pa.BufferOutputStream()
    pcsv.write_csv(flat, sink)
    return bytes(sink.getvalue()).decode()


def _json(table: pa.Table) -> str:
    return json.dumps(table.to_pylist(), default=str, ensure_ascii=False) + "\n"
