"""SQL over tables and snapshots: the one module that imports duckdb, and the one escaping helper."""

from __future__ import annotations

import json
import re
import tempfile
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from duckdb import DuckDBPyConnection as DuckDBPyConnection

from tasks import sql_words as words
from tasks.errors import StorageError, UsageError
from tasks.sql_process import Budget, ask_in_child

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
Parameters = Sequence[Any] | Mapping[str, Any]

# Table functions that read nothing but the snapshot and change nothing; its own macros are added. Some others do harm from
# within a SELECT: enable_logging writes files and brings the process down, query() hides a statement in a text.
_TABLE_FUNCTIONS = frozenset(
    (
        *("range", "generate_series", "unnest", "repeat", "repeat_row", "histogram", "histogram_values", "json_each", "json_tree"),
        *("summary", "pg_timezone_names", "icu_calendar_names", "pragma_version", "pragma_show", "pragma_table_info"),
        *("pragma_storage_info", "pragma_database_size", "duckdb_columns", "duckdb_constraints", "duckdb_databases", "duckdb_functions"),
        *("duckdb_indexes", "duckdb_keywords", "duckdb_schemas", "duckdb_tables", "duckdb_types", "duckdb_views", "duckdb_memory"),
    )
)
_HIDDEN = {"current_setting", "getenv", "write_log", "pg_settings", "duckdb_logs"}
_NUL = re.compile("\x00")
_CORRECT = "correct the expression; SHOW TABLES and DESCRIBE <table> tell what there is"


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


def _shut(database: DuckDBPyConnection) -> None:
    """From here on it reads no file, reaches no network, and cannot be told otherwise."""
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")


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
        _shut(database)  # a recipe's expression comes from whoever wrote the recipe
        try:
            return database.execute(query, parameters).to_arrow_table()
        except _MISTAKES as error:
            raise UsageError(f"SQL: {words.plain(str(error))}", _CORRECT) from error
        except duckdb.PermissionException as error:
            raise UsageError(f"SQL: {words.plain(str(error))}", "an expression reads its own tables, no file") from error


def sandboxed(path: Path | str, budget: Budget | None = None, spill: Path | None = None) -> DuckDBPyConnection:
    """A connection for users' SQL on a snapshot: it reads that file and nothing else, and cannot be told otherwise.

    Args:
        path: the snapshot.
        budget: memory and temporary disk space that a query may take.
        spill: a folder for temporary space that nobody else uses; by default a new one, gone afterwards.

    Raises:
        StorageError: the file is missing or no snapshot.
    """
    budget = budget or Budget()
    if not Path(path).is_file():
        raise StorageError(f"{path}: there is no such snapshot", "run `hardmine mine` first")
    # The engine lets queries read its temporary folder: hence one of an unguessable name, which it makes when it needs it.
    folder = spill or Path(tempfile.gettempdir()) / f"hardmine-sql-{uuid.uuid4().hex}"
    database = connection(2)
    try:
        database.execute(f"ATTACH {quote_literal(str(path))} AS audit (READ_ONLY)")
    except duckdb.Error as error:
        database.close()
        raise StorageError(f"{path}: not a snapshot that can be read: {words.plain(str(error))}", "delete it and run again") from error
    database.execute("USE audit")
    database.execute(f"SET temp_directory = {quote_literal(str(folder))}")
    database.execute(f"SET memory_limit = '{budget.memory}B'")
    database.execute(f"SET max_temp_directory_size = '{budget.spill}B'")
    _shut(database)
    return database


def ask(
    database: DuckDBPyConnection, sql: str, parameters: Parameters | None = None, timeout: float = 60.0, max_bytes: int = Budget().result
) -> pa.Table:
    """One SELECT statement on a :func:`sandboxed` connection.

    The timer stops a query between two blocks of rows; one value that takes very long to compute is only stopped by
    :func:`query_snapshot`.

    Args:
        database: the connection.
        sql: exactly one statement that only reads (SELECT, WITH, FROM, VALUES, SHOW, DESCRIBE, SUMMARIZE).
        parameters: values for ``?`` or ``$name``. Texts take the type of what they are compared with.
        timeout: seconds after which the query is stopped.
        max_bytes: size of the result at which the query is stopped.

    Raises:
        UsageError: not one reading statement, wrong SQL, not allowed, or out of time, memory or size.
    """
    timed_out = threading.Event()

    def stop() -> None:
        timed_out.set()
        database.interrupt()

    timer = threading.Timer(timeout, stop)
    timer.daemon = True
    try:
        _check(database, sql)
        timer.start()
        return _collect(database.execute(sql, parameters).to_arrow_reader(65_536), max_bytes)
    except (duckdb.Error, OSError, MemoryError, RecursionError) as error:  # while rows flow, the engine's errors come as OSError
        timer.cancel()
        if timed_out.is_set():
            raise words.out_of_time(timeout) from error
        if isinstance(error, MemoryError):
            raise words.out_of_memory() from error
        raise words.explain(str(error), sql, lambda: _names(database)) from error
    finally:
        timer.cancel()


def query_snapshot(path: Path | str, sql: str, parameters: Parameters | None = None, timeout: float = 60.0) -> pa.Table:
    """:func:`ask` on a :func:`sandboxed` connection, in a process of its own.

    Whatever the query does, this process lives on: the other one is limited in memory, and killed soon after ``timeout``.

    Raises:
        UsageError: as for :func:`ask`.
        StorageError: the file is missing or no snapshot.
    """
    return ask_in_child(Path(path), sql, parameters, Budget(seconds=timeout))


def _collect(reader: pa.RecordBatchReader, max_bytes: int) -> pa.Table:
    batches, size = [], 0
    with reader:
        for batch in reader:
            batches.append(batch)
            size += batch.nbytes
            if size > max_bytes:
                raise words.too_large(max_bytes)
        return pa.Table.from_batches(batches, schema=reader.schema)


def _check(database: DuckDBPyConnection, sql: str) -> None:
    """Refuse all but one SELECT that calls only harmless functions."""
    if words.acts(sql):  # the engine runs a part of some of them before it says what they are
        raise words.refused_statement(sql, "")
    statements = database.extract_statements(sql)
    if len(statements) > 1 and statements[0].type == duckdb.StatementType.CREATE and not statements[0].query:
        raise UsageError("PIVOT needs its values here", "name them: PIVOT table ON column IN ('a', 'b') USING count(*)")
    if len(statements) != 1:
        raise UsageError(f"{len(statements)} statements given, exactly one is run", words.ONE_SELECT)
    if statements[0].type != duckdb.StatementType.SELECT:
        raise words.refused_statement(sql, statements[0].type.name)
    row = database.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    tree = json.loads(row[0]) if row else {"error": True}
    if tree["error"]:  # a pragma that the parser turns into a SELECT
        raise words.refused_statement(sql, "PRAGMA")
    tables, others = _functions(tree)
    found = database.execute("SELECT function_name FROM duckdb_functions() WHERE database_name = 'audit'").fetchall()
    macros = {str(name).lower() for (name,) in found}
    for name in sorted(tables - _TABLE_FUNCTIONS - macros):
        raise words.refused_function(name, macros or _TABLE_FUNCTIONS)
    for name in sorted(others & _HIDDEN):
        raise UsageError(f"{name!r} is not available here", words.ONE_SELECT + " on the snapshot's own tables (SHOW TABLES)")


def _functions(tree: Any) -> tuple[set[str], set[str]]:
    """Names of the table functions that a parsed query calls; names of its other functions, and of its tables."""
    tables: set[str] = set()
    others: set[str] = set()
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        elif isinstance(node, dict):
            pending += node.values()
            others.update(str(node[key]).lower() for key in ("function_name", "table_name") if isinstance(node.get(key), str))
            if node.get("type") == "TABLE_FUNCTION":
                tables.add(str(node["function"]["function_name"]).lower())
    return tables, others


def _names(database: DuckDBPyConnection) -> words.Names:
    columns: dict[str, list[str]] = {}
    for table, column in database.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'audit' AND NOT internal"
    ).fetchall():
        columns.setdefault(table, []).append(column)
    functions = database.execute("SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type <> 'pragma'").fetchall()
    allowed = [name for (name,) in functions if name[0].isalpha() and not re.match(r"read_|parquet_|.*_scan|enable_|disable_", name)]
    return words.Names(columns, allowed)


def _refuse_nul(text: str) -> str:
    if _NUL.search(text):
        raise UsageError("a name or text in SQL has a NUL character", "remove it")
    return text
