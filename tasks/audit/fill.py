"""Fill a snapshot's tables: pairs straight from the rounds' Parquet files, facts from their manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tasks import schema
from tasks.audit.facts import ROUND, ROUNDS, STAGES, count_rows, read_manifests, round_rows, stage_rows
from tasks.audit.records import RoundRecord, SelectionRecord
from tasks.audit.tables import TABLES, VIEWS, WHY, WHY_COMMENT, column_comment
from tasks.sql import quote_identifier, quote_literal
from tasks.store.manifest import StageManifest, read_stage
from tasks.store.storage import Storage
from tasks.store.tables import local_file

if TYPE_CHECKING:
    from tasks.sql import DuckDBPyConnection

_ADDRESS = ("query_row", "doc_partition", "doc_row")
_KEPT = "('negative', 'positive', 'pseudo_positive')"
_BUCKETS = 1_000_000


@dataclass(frozen=True)
class _Files:
    """Files of one kind, of one round or selection: what they are read with and what is written beside each row."""

    paths: tuple[str, ...]
    facts: Mapping[str, str | int]

    def sql(self, drop: Sequence[str] = ()) -> str:
        constants = ", ".join(
            f"{quote_literal(value)} AS {name}" if isinstance(value, str) else f"{value}::INTEGER AS {name}"
            for name, value in self.facts.items()
        )
        paths = ", ".join(quote_literal(path) for path in self.paths)
        exclude = f" EXCLUDE ({', '.join(drop)})" if drop else ""
        return f"SELECT {constants}, *{exclude} FROM read_parquet([{paths}], hive_partitioning = false)"


def fill(database: DuckDBPyConnection, storage: Storage, rounds: Sequence[RoundRecord], row_limit: int) -> None:
    """Create and fill all tables, views and the macro, with comments.

    Args:
        database: an empty database.
        storage: the root that the rounds' files lie under.
        rounds: what to record.
        row_limit: see :func:`tasks.audit.build.build_audit`.
    """
    manifests = read_manifests(storage, rounds)
    pairs = [(record, selection) for record in rounds for selection in record.selections if _there(storage, record, selection)]
    total = sum(count_rows(manifests[selection.select], "decisions.parquet") for _, selection in pairs)
    share = min(1.0, row_limit / total) if total else 1.0
    decisions = [_files(storage, record, manifests[chosen.select], "decisions.parquet") for record, chosen in pairs]
    rows = [_files(storage, record, manifests[chosen.select], "rows.parquet") for record, chosen in pairs]
    mined = {(record.dataset, record.number): record for record, _ in pairs}.values()
    scored = [_files(storage, record, manifests[record.stage("scored")], "scored.parquet") for record in mined]
    _fill_pairs(database, decisions, rows, scored, share)
    _fill_counts(database, decisions, {chosen.selection_id: chosen.recipe for _, chosen in pairs})
    _create(database, "rejected_input", pa.schema([*ROUND, ("stage", pa.string()), *schema.REJECTED_INPUT]), _rejected(storage, rounds))
    here = {(record.dataset, record.number, chosen.selection_id) for record, chosen in pairs}
    _create(database, "rounds", ROUNDS, rows=round_rows(rounds, manifests, here, share))
    _create(database, "stages", STAGES, rows=stage_rows(rounds, manifests))
    for name, query in VIEWS.items():
        database.execute(f"CREATE VIEW {quote_identifier(name)} AS {query}")
    database.execute(WHY)
    _comment(database)


def _fill_pairs(database: DuckDBPyConnection, decisions: list[_Files], rows: list[_Files], scored: list[_Files], share: float) -> None:
    bucket = f"md5_number_lower(query_id || chr(31) || doc_id) % {_BUCKETS} < {int(share * _BUCKETS)}"
    sample = "" if share >= 1 else f" WHERE decision IN {_KEPT} OR {bucket}"
    kept = "" if share >= 1 else " SEMI JOIN decisions USING (dataset, round, query_id, doc_id)"
    _create(database, "decisions", _columns(schema.DECISIONS), [f"{part.sql()}{sample}" for part in decisions])
    _create(database, "rows", _columns(schema.ROWS), [part.sql(_ADDRESS) for part in rows])
    _create(database, "candidates", _columns(schema.scored(["dense"])), [f"SELECT * FROM ({part.sql(_ADDRESS)}){kept}" for part in scored])


def _fill_counts(database: DuckDBPyConnection, decisions: list[_Files], recipes: Mapping[str, str]) -> None:
    """Exact counts, from the files: the table of decisions may be a sample."""
    database.register("no_decisions", _columns(schema.DECISIONS).empty_table())
    everything = " UNION ALL BY NAME ".join(["SELECT * FROM no_decisions", *(part.sql() for part in decisions)])
    cases = " ".join(f"WHEN {quote_literal(key)} THEN {quote_literal(name)}" for key, name in recipes.items())
    recipe = f"CASE selection_id {cases} END" if cases else "NULL::VARCHAR"
    database.execute(f"""
CREATE TABLE decision_counts AS SELECT dataset, round, selection_id, {recipe} AS recipe, stage, decision, count(*) AS pairs
FROM ({everything}) GROUP BY ALL ORDER BY ALL""")
    database.execute(f"""
CREATE TABLE rejections AS
SELECT dataset, round, selection_id, {recipe} AS recipe, stage, reason, count(*) FILTER (is_first) AS first_count, count(*) AS any_count
FROM (SELECT dataset, round, selection_id, stage, unnest(reasons) AS reason, unnest(reasons) = d.reason AS is_first
  FROM ({everything}) d WHERE decision IN ('rejected', 'unscored'))
GROUP BY ALL ORDER BY ALL""")
    database.unregister("no_decisions")


def _create(
    database: DuckDBPyConnection, name: str, columns: pa.Schema, queries: Sequence[str] = (), rows: Sequence[Mapping[str, Any]] = ()
) -> None:
    """A table with at least these columns, from queries and rows."""
    database.register("given", pa.Table.from_pylist(list(rows), schema=columns))
    union = " UNION ALL BY NAME ".join(["SELECT * FROM given", *queries])
    database.execute(f"CREATE TABLE {quote_identifier(name)} AS {union}")
    database.unregister("given")


def _comment(database: DuckDBPyConnection) -> None:
    columns = database.execute("SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal ORDER BY ALL").fetchall()
    for table in sorted({table for table, _ in columns}):
        kind = "VIEW" if table in VIEWS else "TABLE"
        database.execute(f"COMMENT ON {kind} {quote_identifier(table)} IS {quote_literal(TABLES[table])}")
    for table, column in columns:
        name = f"{quote_identifier(table)}.{quote_identifier(column)}"
        database.execute(f"COMMENT ON COLUMN {name} IS {quote_literal(column_comment(column))}")
    database.execute(f"COMMENT ON MACRO TABLE why IS {quote_literal(WHY_COMMENT)}")


def _there(storage: Storage, record: RoundRecord, selection: SelectionRecord) -> bool:
    refs = [selection.select, record.stage("scored")]
    return all(read_stage(storage, ref.stage, ref.key) is not None for ref in refs)


def _files(storage: Storage, record: RoundRecord, manifest: StageManifest | None, name: str, **facts: str) -> _Files:
    parts = manifest.parts if manifest else ()
    paths = tuple(str(local_file(storage, part.file(name))) for part in parts)
    return _Files(paths, {"dataset": record.dataset, "round": record.number, **facts})


def _rejected(storage: Storage, rounds: Sequence[RoundRecord]) -> list[str]:
    queries = []
    for record in rounds:
        for ref in record.stages:
            manifest = read_stage(storage, ref.stage, ref.key) if ref.stage in ("documents", "queries") else None
            if manifest is not None:
                queries.append(_files(storage, record, manifest, "rejected.parquet", stage=ref.stage).sql())
    return queries


def _columns(columns: pa.Schema) -> pa.Schema:
    return pa.schema([*ROUND, *(field for field in columns if field.name not in _ADDRESS)])
