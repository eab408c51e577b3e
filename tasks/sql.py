"""SQL over tables and snapshots: the one module that imports duckdb, and the one escaping helper."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from duckdb import DuckDBPyConnection as DuckDBPyConnection

from tasks.errors import StorageError, UsageError

# Never fetch or load extensions, never look into Python's variables for tables, keep rows in order.
_SAFE: dict[str, Any] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    "preserve_insertion_order": True,
    "produce_arrow_string_view": False,
}
_MISTAKES = (
    duckdb.ParserException,
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.OutOfRangeException,
    duckdb.SyntaxException,
)
_REFUSED = (duckdb.PermissionException, duckdb.OutOfMemoryException)
_NUL = re.compile("\x00")


def quote_identifier(name: str) -> str:
    """A name as SQL, in double quotes; quotes inside it are doubled.

    >>> print(quote_identifier('a "b" c'))
    "a ""b"" c"
    """
    return '"' + _refuse_nul(name).replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """A string as SQL.

    >>> quote_literal("it's")
    "'it''s'"
    """
    return "'" + _refuse_nul(text).replace("'", "''") + "'"


def connection(threads: int = 1) -> DuckDBPyConnection:
    """An empty database in memory. With one thread, sums of doubles have one order and equal input gives equal output."""
    return duckdb.connect(":memory:", config={**_SAFE, "threads": threads})


def new_database(path: Path, threads: int = 2) -> DuckDBPyConnection:
    """A database file that does not exist yet, for writing."""
    return duckdb.connect(str(path), config={**_SAFE, "threads": threads})


def run(
    query: str, tables: Mapping[str, pa.Table], parameters: Sequence[Any] | Mapping[str, Any] | None = None, threads: int = 1
) -> pa.Table:
    """One query over Arrow tables.

    Args:
        query: SQL; refers to the tables by their names.
        tables: what the query may read.
        parameters: values for ``?`` or ``$name``.
        threads: 1 for results that do not depend on the machine.

    Returns:
        The result; its order is that of the query's ORDER BY.

    Raises:
        UsageError: the SQL is wrong; it may contain a user's expression.
    """
    with connection(threads) as database:
        for name, table in tables.items():
            database.register(name, table)
        try:
            return database.execute(query, parameters).to_arrow_table()
        except _MISTAKES as error:
            raise _explained(error) from error


def sandboxed(path: Path | str, memory: str = "2GB", spill: str = "4GB") -> DuckDBPyConnection:
    """A connection for users' SQL on a snapshot: it reads that file and nothing else, and cannot be told otherwise.

    Args:
        path: the snapshot.
        memory: most memory that a query may take.
        spill: most temporary disk space.

    Raises:
        StorageError: the file is missing or no snapshot.
    """
    if not Path(path).is_file():
        raise StorageError(f"{path}: there is no such snapshot", "run `hardmine mine` first")
    database = connection(2)
    try:
        database.execute(f"ATTACH {quote_literal(str(path))} AS audit (READ_ONLY)")
    except duckdb.Error as error:
        database.close()
        raise StorageError(f"{path}: not a snapshot that can be read: {_first_line(error)}", "delete it and run again") from error
    database.execute("USE audit")
    database.execute(f"SET temp_directory = {quote_literal(str(Path(tempfile.gettempdir()) / 'hardmine-sql'))}")
    database.execute(f"SET memory_limit = {quote_literal(memory)}")
    database.execute(f"SET max_temp_directory_size = {quote_literal(spill)}")
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")
    return database


def ask(
    database: DuckDBPyConnection, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None, timeout: float = 60.0
) -> pa.Table:
    """One SELECT statement on a :func:`sandboxed` connection.

    Args:
        database: the connection.
        sql: exactly one statement that only reads (SELECT, WITH, FROM, VALUES, SHOW, DESCRIBE, SUMMARIZE).
        parameters: values for ``?`` or ``$name``.
        timeout: seconds after which the query is stopped.

    Raises:
        UsageError: not one reading statement, wrong SQL, not allowed, or out of time or memory.
    """
    _refuse_all_but_one_select(database, sql)
    timer = threading.Timer(timeout, database.interrupt)
    timer.daemon = True
    timer.start()
    try:
        return database.execute(sql, parameters).to_arrow_table()
    except duckdb.InterruptException as error:
        raise UsageError(
            f"the query took more than {timeout:g} s and was stopped", "narrow it with WHERE, or raise the time limit"
        ) from error
    except _REFUSED as error:
        raise UsageError(_first_line(error), "read the snapshot's own tables only (SHOW TABLES), and fewer rows") from error
    except duckdb.Error as error:
        raise _explained(error) from error
    finally:
        timer.cancel()


def query_snapshot(
    path: Path | str, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None, timeout: float = 60.0
) -> pa.Table:
    """:func:`ask` on a :func:`sandboxed` connection that is opened for this one query."""
    with sandboxed(path) as database:
        return ask(database, sql, parameters, timeout)


def _refuse_all_but_one_select(database: DuckDBPyConnection, sql: str) -> None:
    try:
        statements = database.extract_statements(sql)
    except duckdb.Error as error:
        raise _explained(error) from error
    if len(statements) != 1:
        raise UsageError(f"{len(statements)} statements given, exactly one is run", "give one SELECT statement")
    if statements[0].type != duckdb.StatementType.SELECT:
        raise UsageError(f"{statements[0].type.name} is not allowed: a snapshot is only read", "give one SELECT statement")


def _explained(error: duckdb.Error) -> UsageError:
    return UsageError(f"SQL: {_first_line(error)}", "correct the expression; SHOW TABLES and DESCRIBE <table> tell what there is")


def _first_line(error: duckdb.Error) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(line for line in lines if not line.startswith(("LINE", "^")))[:500]


def _refuse_nul(text: str) -> str:
    if _NUL.search(text):
        raise UsageError("a name or text in SQL has a NUL character", "remove it")
    return text
