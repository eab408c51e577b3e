"""Committed Parquet files as SQL, and tables made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tasks.audit.records import RoundRecord
from tasks.sql import quote_identifier, quote_literal
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import local_file

if TYPE_CHECKING:
    from tasks.sql import DuckDBPyConnection

Fact = str | int | float | None


@dataclass(frozen=True)
class Files:
    """Files of one kind, of one round or selection: what they are read with and what is written beside each row."""

    paths: tuple[str, ...]
    facts: Mapping[str, Fact]

    def constants(self) -> str:
        """A SELECT of the facts alone: one row."""
        return "SELECT " + ", ".join(f"{_constant(value)} AS {quote_identifier(name)}" for name, value in self.facts.items())

    def sql(self, drop: Sequence[str] = (), place: str = "") -> str:
        """A SELECT of the facts, then of all columns of the files.

        Args:
            drop: columns to leave out.
            place: name of a column that holds each row's place in its file, from 1; empty: none.
        """
        constants = self.constants()
        if place:
            constants += f", file_row_number + 1 AS {quote_identifier(place)}"
        paths = ", ".join(quote_literal(path) for path in self.paths)
        exclude = f" EXCLUDE ({', '.join(drop)})" if drop else ""
        return f"{constants}, *{exclude} FROM read_parquet([{paths}], hive_partitioning = false, file_row_number = {bool(place)})"


def files_of(storage: Storage, record: RoundRecord, parts: Sequence[Part], name: str, facts: Mapping[str, Fact] | None = None) -> Files:
    """One file of each part, with the round's dataset and number beside each row."""
    paths = tuple(str(local_file(storage, part.file(name))) for part in parts)
    return Files(paths, {"dataset": record.dataset, "round": record.number, **(facts or {})})


def parts_with(parts: Sequence[Part], name: str) -> list[Part]:
    """The parts that have a file of that name."""
    return [part for part in parts if any(file.name == name for file in part.files)]


def create(
    database: DuckDBPyConnection,
    name: str,
    columns: pa.Schema,
    queries: Sequence[str] = (),
    rows: Sequence[Mapping[str, Any]] = (),
    only: bool = False,
) -> None:
    """A table from queries and rows.

    Args:
        database: where to.
        name: of the table.
        columns: what it has at least; NULL where a query does not give it.
        queries: SELECTs, united by column names.
        rows: more rows.
        only: leave out the queries' other columns.
    """
    database.register("given", pa.Table.from_pylist(list(rows), schema=columns))
    union = " UNION ALL BY NAME ".join(["SELECT * FROM given", *queries])
    chosen = ", ".join(quote_identifier(column) for column in columns.names) if only else "*"
    database.execute(f"CREATE TABLE {quote_identifier(name)} AS SELECT {chosen} FROM ({union})")
    database.unregister("given")


def _constant(value: Fact) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return quote_literal(value)
    return f"{value}::INTEGER" if isinstance(value, int) else f"'{value!r}'::DOUBLE"
