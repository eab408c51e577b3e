"""Fill a snapshot's tables: pairs straight from the rounds' Parquet files, facts from their manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks import schema
from tasks.audit.facts import OUTLAYS, ROUND, ROUNDS, STAGES, count_rows, outlay_rows, read_manifests, round_rows, stage_rows
from tasks.audit.measured import fill_measured
from tasks.audit.records import RoundRecord, SelectionRecord
from tasks.audit.source import Files, create, files_of
from tasks.audit.tables import TABLES, column_comment
from tasks.audit.views import COUNTS, DIFFICULTY, MACROS, REJECTIONS, VIEWS
from tasks.sql import quote_identifier, quote_literal
from tasks.store.manifest import StageManifest, read_stage
from tasks.store.storage import Storage

if TYPE_CHECKING:
    from tasks.sql import DuckDBPyConnection

_ADDRESS = ("query_row", "doc_partition", "doc_row")
_KEPT = "('negative', 'positive', 'pseudo_positive')"
_BUCKETS = 1_000_000


def fill(database: DuckDBPyConnection, storage: Storage, rounds: Sequence[RoundRecord], row_limit: int) -> None:
    """Create and fill all tables, views and macros, with comments.

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
    here = {(record.dataset, record.number, chosen.selection_id) for record, chosen in pairs}
    create(database, "rounds", ROUNDS, rows=round_rows(rounds, manifests, here, share))
    create(database, "stages", STAGES, rows=stage_rows(rounds, manifests))
    create(database, "outlays", OUTLAYS, rows=outlay_rows(rounds))
    decisions = [_files(storage, record, manifests[chosen.select], "decisions.parquet") for record, chosen in pairs]
    rows = [_files(storage, record, manifests[chosen.select], "rows.parquet") for record, chosen in pairs]
    mined = {(record.dataset, record.number): record for record, _ in pairs}.values()
    scored = [_files(storage, record, manifests[record.stage("scored")], "scored.parquet") for record in mined]
    _fill_pairs(database, decisions, rows, scored, share)
    _fill_exact(database, decisions, scored, {chosen.selection_id: chosen.recipe for _, chosen in pairs}, share)
    create(database, "rejected_input", pa.schema([*ROUND, ("stage", pa.string()), *schema.REJECTED_INPUT]), _rejected(storage, rounds))
    fill_measured(database, storage, rounds)
    for name, query in VIEWS.items():
        database.execute(f"CREATE VIEW {quote_identifier(name)} AS {query}")
    for definition, _ in MACROS.values():
        database.execute(f"CREATE MACRO {definition}")
    _comment(database)


def _fill_pairs(database: DuckDBPyConnection, decisions: list[Files], rows: list[Files], scored: list[Files], share: float) -> None:
    bucket = f"md5_number_lower(query_id || chr(31) || doc_id) % {_BUCKETS} < {int(share * _BUCKETS)}"
    sample = "" if share >= 1 else f" WHERE decision IN {_KEPT} OR {bucket}"
    kept = "" if share >= 1 else " SEMI JOIN decisions USING (dataset, round, query_id, doc_id)"
    create(database, "decisions", _columns(schema.DECISIONS), [f"{part.sql()}{sample}" for part in decisions])
    create(database, "rows", _columns(schema.ROWS), [part.sql(_ADDRESS) for part in rows])
    create(database, "candidates", _columns(schema.scored(["dense"])), [f"SELECT * FROM ({part.sql(_ADDRESS)}){kept}" for part in scored])


def _fill_exact(
    database: DuckDBPyConnection, decisions: list[Files], scored: list[Files], recipes: Mapping[str, str], share: float
) -> None:
    """Counts of all pairs: from the tables if they hold all, else from the files."""
    every = {"every_decision": "FROM decisions", "every_candidate": "FROM candidates"}
    if share < 1:
        database.register("no_decisions", _columns(schema.DECISIONS).empty_table())
        database.register("no_candidates", _columns(schema.scored(["dense"])).empty_table())
        for name, none, parts in (("every_decision", "no_decisions", decisions), ("every_candidate", "no_candidates", scored)):
            every[name] = " UNION ALL BY NAME ".join([f"SELECT * FROM {none}", *(part.sql() for part in parts)])
    for name, query in every.items():
        database.execute(f"CREATE TEMP VIEW {name} AS {query}")
    cases = " ".join(f"WHEN {quote_literal(key)} THEN {quote_literal(name)}" for key, name in recipes.items())
    recipe = f"CASE selection_id {cases} END" if cases else "NULL::VARCHAR"
    for name, query in (("decision_counts", COUNTS), ("rejections", REJECTIONS), ("query_difficulty", DIFFICULTY)):
        database.execute(f"CREATE TABLE {name} AS {query.replace('$recipe', recipe)}")
    for name in every:
        database.execute(f"DROP VIEW {name}")
    for name in ("no_decisions", "no_candidates"):
        database.unregister(name)


def _comment(database: DuckDBPyConnection) -> None:
    columns = database.execute("SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal ORDER BY ALL").fetchall()
    database.begin()  # each comment alone would be written through to the file
    for table in sorted({table for table, _ in columns}):
        kind = "VIEW" if table in VIEWS else "TABLE"
        database.execute(f"COMMENT ON {kind} {quote_identifier(table)} IS {quote_literal(TABLES[table])}")
    for table, column in columns:
        name = f"{quote_identifier(table)}.{quote_identifier(column)}"
        database.execute(f"COMMENT ON COLUMN {name} IS {quote_literal(column_comment(column, table))}")
    for name, (_, comment) in MACROS.items():
        database.execute(f"COMMENT ON MACRO TABLE {name} IS {quote_literal(comment)}")
    database.commit()


def _there(storage: Storage, record: RoundRecord, selection: SelectionRecord) -> bool:
    refs = [selection.select, record.stage("scored")]
    return all(read_stage(storage, ref.stage, ref.key) is not None for ref in refs)


def _files(storage: Storage, record: RoundRecord, manifest: StageManifest | None, name: str) -> Files:
    return files_of(storage, record, manifest.parts if manifest else (), name)


def _rejected(storage: Storage, rounds: Sequence[RoundRecord]) -> list[str]:
    queries = []
    for record in rounds:
        for ref in record.stages:
            manifest = read_stage(storage, ref.stage, ref.key) if ref.stage in ("documents", "queries") else None
            if manifest is not None:
                queries.append(files_of(storage, record, manifest.parts, "rejected.parquet", {"stage": ref.stage}).sql())
    return queries


def _columns(columns: pa.Schema) -> pa.Schema:
    return pa.schema([*ROUND, *(field for field in columns if field.name not in _ADDRESS)])
