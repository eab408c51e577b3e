"""What measuring says of rounds: rates of false negatives, calibration, histograms, suspects, use of documents. All of it may be absent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks import schema
from tasks.audit.facts import ROUND
from tasks.audit.records import RoundRecord, SelectionRecord, StageRef
from tasks.audit.source import Fact, create, files_of, parts_with
from tasks.store.manifest import Part, read_stage
from tasks.store.storage import Storage

if TYPE_CHECKING:
    from tasks.sql import DuckDBPyConnection

SELECTION = [*ROUND, ("selection_id", pa.string()), ("recipe", pa.string())]

FALSE_NEGATIVES = pa.schema([*SELECTION, *schema.ESTIMATES])
HARDNESS = pa.schema([*SELECTION, *schema.HISTOGRAM])
SUSPECTED = pa.schema(
    [
        *SELECTION,
        ("place", pa.int64()),
        ("query_id", pa.string()),
        ("doc_id", pa.string()),
        ("basis", pa.string()),
        ("suspicion", pa.float64()),
        ("probability", pa.float64()),
    ]
)
SLICES = pa.schema(
    [
        *SELECTION,
        ("slice", pa.string()),
        ("value_of_slice", pa.string()),
        ("queries", pa.int64()),
        ("served", pa.float64()),
        ("negatives", pa.int64()),
        ("hardness", pa.float64()),
        ("small", pa.bool_()),
    ]
)
HUBS = pa.schema([*SELECTION, ("doc_id", pa.string()), ("queries", pa.int64())])

_FIT = ("source", "verdict", "auc", "brier", "ece")
CALIBRATION = pa.schema(
    [
        *ROUND,
        ("source", pa.string()),
        ("verdict", pa.string()),
        *((name, pa.float64()) for name in ("auc", "brier", "ece")),
        *schema.RELIABILITY,
    ]
)

# Filled when later checkpoints look back on earlier rounds.
STALENESS = pa.schema(
    [
        ("dataset", pa.string()),
        ("from_round", pa.int32()),
        ("under_round", pa.int32()),
        ("selection_id", pa.string()),
        ("recipe", pa.string()),
        *((name, pa.float64()) for name in ("first_loss_share", "mean_percentile", "easy_share", "overlap", "rank_biased_overlap")),
        ("retired", pa.int64()),
        ("newly_hard", pa.int64()),
    ]
)

_OF_SELECTIONS = {
    "false_negatives": ("estimates.parquet", FALSE_NEGATIVES),
    "hardness": ("histogram.parquet", HARDNESS),
    "suspected": ("suspects.parquet", SUSPECTED),
    "slices": ("slices.parquet", SLICES),
}


def fill_measured(database: DuckDBPyConnection, storage: Storage, rounds: Sequence[RoundRecord]) -> None:
    """Create the tables that need no pairs; those that nobody measured stay empty."""
    for name, (file, columns) in _OF_SELECTIONS.items():
        found = [_of_selection(storage, record, chosen, chosen.measures, file) for record in rounds for chosen in record.selections]
        create(database, name, columns, [query for queries in found for query in queries], only=True)
    used = [_of_selection(storage, record, chosen, chosen.select, "usage.parquet") for record in rounds for chosen in record.selections]
    names = ", ".join(name for name in HUBS.names if name != "queries")
    summed = [f"SELECT {names}, sum(queries)::BIGINT AS queries FROM ({query}) GROUP BY ALL" for queries in used for query in queries]
    create(database, "hubs", HUBS, summed, only=True)
    create(database, "calibration", CALIBRATION, [query for record in rounds for query in _calibration(storage, record)], only=True)
    create(database, "staleness", STALENESS)


def _of_selection(storage: Storage, record: RoundRecord, chosen: SelectionRecord, ref: StageRef | None, name: str) -> list[str]:
    """SELECTs of a selection's file, one or none."""
    parts = parts_with(_parts(storage, ref), name)
    facts: dict[str, Fact] = {"selection_id": chosen.selection_id, "recipe": chosen.recipe}
    place = "place" if name == "suspects.parquet" else ""
    return [files_of(storage, record, parts, name, facts).sql(place=place)] if parts else []


def _calibration(storage: Storage, record: RoundRecord) -> Iterator[str]:
    """One SELECT a fit; a fit without bins, as from too few labels, gives one row with its verdict."""
    name = "reliability.parquet"
    for part in parts_with(_parts(storage, record.roles.get("calibrate")), name):
        found = files_of(storage, record, [part], name, {fact: part.meta.get(fact) for fact in _FIT})
        yield found.sql() if part.file(name).rows else found.constants()


def _parts(storage: Storage, ref: StageRef | None) -> Sequence[Part]:
    manifest = read_stage(storage, ref.stage, ref.key) if ref else None
    return manifest.parts if manifest else ()
