"""What the SQL engine's errors mean, in a user's words: what is wrong, the nearest valid name, the mend. Never a stack or a path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from tasks.errors import StorageError, UsageError, nearest

ONE_SELECT = "give one SELECT statement"
_FILES = "a query sees the snapshot's own tables only (SHOW TABLES); to join other files, open the snapshot read-only with a DuckDB client"
_WRITING = f"a snapshot is only read: {ONE_SELECT}"
_MENDS = {
    ("ATTACH", "DETACH", "IMPORT"): f"{ONE_SELECT}; to join other files, open the snapshot read-only with a DuckDB client",
    ("COPY", "COPY_DATABASE", "EXPORT"): f"{ONE_SELECT}; a result is written with --format and --out",
    ("INSTALL", "LOAD", "UPDATE_EXTENSIONS"): f"{ONE_SELECT}; extensions are never loaded here",
    ("SET", "RESET", "PRAGMA", "USE"): f"{ONE_SELECT}; settings are fixed (DESCRIBE tells a table's columns)",
    ("EXPLAIN", "CALL", "PREPARE", "EXECUTE", "DEALLOCATE", "BEGIN", "COMMIT", "ROLLBACK", "CHECKPOINT", "VACUUM", "ANALYZE"): ONE_SELECT,
}
_LEADING = re.compile(r"^(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_]+")
_KIND = re.compile(r"^([A-Z][A-Za-z ]*?) Error: ")
_ADVICE = re.compile(
    r"\s*(Possible solutions|Stack Trace|Use \"SET |Please try installing|For more information|Alternatively, consider).*", re.DOTALL
)
_HINT = re.compile(r"\s*(Did you mean|Candidate bindings|Candidate functions|Candidate tables).*", re.DOTALL)


class Names(NamedTuple):
    """What a query may name. ``columns`` by table; ``functions``: of values and of tables."""

    columns: Mapping[str, list[str]]
    functions: list[str]


def refused_statement(sql: str, kind: str) -> UsageError:
    """A statement that is no SELECT.

    Args:
        sql: its text.
        kind: what the engine calls it, such as COPY.
    """
    word = first_word(sql) or kind
    word = kind if word in ("WITH", "FROM", "SELECT") else word
    mend = next((mend for words, mend in _MENDS.items() if word in words or (kind in words and kind != "CALL")), _WRITING)
    return UsageError(f"{word} is not allowed", mend)


def first_word(sql: str) -> str:
    r"""What kind of statement a text begins with, in capitals; of ``FORCE INSTALL`` the second word. Empty: it begins with no word.

    >>> first_word("-- a comment\n force install httpfs")
    'INSTALL'
    """
    found = _WORD.match(sql, _leading(sql))
    if found and found.group().upper() == "FORCE":
        found = _WORD.match(sql, found.end() + _leading(sql[found.end() :])) or found
    return found.group().upper() if found else ""


def acts(sql: str) -> bool:
    """Whether a text begins as a statement that does something; such a one is refused, however it goes on."""
    word = first_word(sql)
    return any(word in words for words in _MENDS)


def refused_function(name: str, known: Iterable[str]) -> UsageError:
    """A table function that is not among those which read the snapshot only."""
    if re.match(r"(read_|parquet_|sniff_|glob$|query|.*_scan$|.*secret)", name):
        return UsageError(f"the function {name!r} is not allowed: it reads what lies outside the snapshot, or hides what it reads", _FILES)
    return UsageError(f"there is no table function {name!r} here", nearest(name, known))


def explain(text: str, sql: str, names: Callable[[], Names]) -> UsageError | StorageError:
    """An error of the engine.

    Args:
        text: its message, which begins with its kind.
        sql: the query.
        names: gives the names that are known; asked for only where one is unknown.
    """
    found = _KIND.match(text)
    kind = found.group(1) if found else ""
    if kind in _PLAIN:
        return _PLAIN[kind](text)
    for pattern, told in _UNKNOWN:
        match = re.search(pattern, text)
        if match:
            return told(match, sql, names())
    return UsageError(f"SQL: {plain(text)}", "correct the expression; SHOW TABLES and DESCRIBE <table> tell what there is")


def plain(text: str) -> str:
    """The message in one line, without position marks, the engine's advice and stack traces."""
    lines = [line.strip() for line in _ADVICE.sub("", text).splitlines() if line.strip()]
    return " ".join(line for line in lines if not line.startswith(("LINE", "^")))[:500]


def out_of_time(seconds: float) -> UsageError:
    """The query ran too long."""
    return UsageError(
        f"the query took more than {seconds:g} s and was stopped", "narrow it with WHERE, or raise the time limit (--timeout)"
    )


def out_of_memory() -> UsageError:
    """The query needs more memory or temporary disk space than it is given."""
    return UsageError(
        "the query needs more memory or temporary space than it may have, and was stopped",
        "filter or aggregate before joining and sorting, or add LIMIT",
    )


def too_large(limit: int) -> UsageError:
    """The result is too large to be held."""
    return UsageError(
        f"the result is larger than {limit / 1e6:,.0f} MB, and the query was stopped",
        "narrow it with WHERE, aggregate, or add LIMIT; for whole tables open the snapshot read-only with a DuckDB client",
    )


def broken() -> UsageError:
    """The engine itself failed."""
    return UsageError("the SQL engine failed on this query", "write it in another way; nothing was changed")


def _leading(sql: str) -> int:
    found = _LEADING.match(sql)
    return found.end() if found else 0


def _file(_: str) -> UsageError:
    return UsageError("the query reads a file or the network, which is not allowed", _FILES)


_PLAIN: dict[str, Callable[[str], UsageError | StorageError]] = {
    "Permission": _file,
    "Out of Memory": lambda _: out_of_memory(),
    "INTERNAL": lambda _: broken(),
    "FATAL": lambda _: broken(),
    "IO": lambda _: StorageError(
        "the snapshot or the query's temporary space could not be used", "see that the disk has space, and run again"
    ),
}


def _table(match: re.Match[str], sql: str, names: Names) -> UsageError:
    if "/" in match.group(1):
        return _file("")
    return UsageError(f"there is no table {match.group(1)!r}", nearest(match.group(1), names.columns))


def _alias(match: re.Match[str], sql: str, names: Names) -> UsageError:
    there = re.findall(r'"([^"]+)"', match.group(2))
    return UsageError(f"the query's FROM has no table {match.group(1)!r}", nearest(match.group(1), there or names.columns))


def _column(match: re.Match[str], sql: str, names: Names) -> UsageError:
    words = {word.lower() for word in re.findall(r"\w+", sql)}
    used = [column for table, columns in names.columns.items() if table.lower() in words for column in columns]
    every = {column for columns in names.columns.values() for column in columns}
    return UsageError(f"there is no column {match.group(1)!r}", f"{nearest(match.group(1), set(used) or every)} (a text has single quotes)")


def _no_from(match: re.Match[str], sql: str, names: Names) -> UsageError:
    return UsageError(
        f"there is no column {match.group(1)!r}: the query has no FROM",
        f"name the table, one of {', '.join(sorted(names.columns))} (a text has single quotes)",
    )


def _function(match: re.Match[str], sql: str, names: Names) -> UsageError:
    return UsageError(f"there is no function {match.group(1)!r} here", nearest(match.group(1), set(names.functions)))


def _no_value(match: re.Match[str], sql: str, names: Names) -> UsageError:
    names_ = [name.strip() for name in match.group(1).split(",")]
    if names_[0].isdigit():
        return UsageError(f"{len(names_)} values are missing for ?", "write $name for ?, and give --param name=value")
    shown = ", ".join(f"${name}" for name in names_)
    return UsageError(f"no value for {shown}", f"give it: --param {names_[0]}=value")


def _excess(match: re.Match[str], sql: str, names: Names) -> UsageError:
    first = match.group(1).split(",")[0].strip()
    return UsageError(f"the query has no ${first}", f"write ${first} where the value belongs, or leave out --param {first}")


def _ambiguous(match: re.Match[str], sql: str, names: Names) -> UsageError:
    return UsageError(f"SQL: the type of a value is not clear in {match.group(1)}", "say it, as in $name::INTEGER or $name::DOUBLE")


_UNKNOWN: tuple[tuple[str, Callable[[re.Match[str], str, Names], UsageError]], ...] = (
    (r'Table with name "?([^"!\s]+)"? does not exist', _table),
    (r'Referenced column "(.+?)" was not found because the FROM clause is missing', _no_from),
    (r'Referenced column "(.+?)" not found', _column),
    (r'Table ".+?" does not have a column named "(.+?)"', _column),
    (r'Column "(.+?)" (?:in \w+ list not found|does not exist on)', _column),
    (r'Referenced table "(.+?)" not found!([^\n]*(?:\n[^\n]+)?)', _alias),
    (r'Function with name "?([^"!\s]+)"? (?:does not exist|is not in the catalog)', _function),
    (r"prepared statement parameters: ([\w, ]+)", _no_value),
    (r"excess parameters: ([\w, ]+)", _excess),
    (r'best candidate function for the function call "(.*?STRING_LITERAL.*?)"', _ambiguous),
)
