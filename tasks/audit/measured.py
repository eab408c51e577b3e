"""What measuring says of rounds: rates, calibration, histograms, suspects, use of documents; and promotions. All of it may be absent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tasks import schema
from tasks.audit.asked import fill_asked
from tasks.audit.facts import ROUND
from tasks.audit.promotions import PromotionRecord, read_promotions
from tasks.audit.records import RoundRecord, SelectionRecord, StageRef
from tasks.audit.source import Fact, Files, create, files_of, parts_with
from tasks.audit.staleness import fill_staleness
from tasks.audit.trained import fill_checkpoints
from tasks.store.manifest import Part, read_stage
from tasks.store.storage import Storage, checked_copy

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

SUSPECT_ZEROS = pa.schema(
    [
        *ROUND,
        ("query_id", pa.string()),
        ("doc_id", pa.string()),
        ("dense_rank", pa.int32()),
        ("dense_score", pa.float32()),
        ("best_positive", pa.float32()),
        ("why", pa.string()),
    ]
)
REVIEW_CHECK = pa.schema(
    [
        *SELECTION,
        ("calibration", pa.string()),
        ("pairs", pa.int64()),
        *((name, pa.float64()) for name in ("emitted", "expected", "observed", "low", "high", "brier", "ece", "auc")),
        ("verdict", pa.string()),
    ]
)

_FIT = ("source", "verdict", "auc", "brier", "ece")
CALIBRATION = pa.schema(
    [
        *SELECTION,
        ("source", pa.string()),
        ("verdict", pa.string()),
        *((name, pa.float64()) for name in ("auc", "brier", "ece")),
        *schema.RELIABILITY,
    ]
)

PROMOTED = pa.schema([*ROUND, ("number", pa.int32()), ("created", pa.string()), ("withdrawn", pa.string()), *schema.PROMOTIONS])

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
    zeros = [query for record in rounds for query in _first(storage, record, "suspect_zeros.parquet")]
    create(database, "suspect_zeros", SUSPECT_ZEROS, zeros, only=True)
    create(database, "review_check", REVIEW_CHECK, rows=[row for record in rounds for row in _checks(storage, record)])
    promotions = [_promotion(storage, one) for name in sorted({one.dataset for one in rounds}) for one in read_promotions(storage, name)]
    create(database, "promotions", PROMOTED, promotions, only=True)
    fill_staleness(database, storage, rounds)
    fill_checkpoints(database, storage, rounds)
    fill_asked(database, storage, rounds)


def _of_selection(storage: Storage, record: RoundRecord, chosen: SelectionRecord, ref: StageRef | None, name: str) -> list[str]:
    """SELECTs of a selection's file, one or none."""
    parts = parts_with(_parts(storage, ref), name)
    facts: dict[str, Fact] = {"selection_id": chosen.selection_id, "recipe": chosen.recipe}
    place = "place" if name == "suspects.parquet" else ""
    return [files_of(storage, record, parts, name, facts).sql(place=place)] if parts else []


def _promotion(storage: Storage, record: PromotionRecord) -> str:
    """One SELECT a promotion."""
    facts: dict[str, Fact] = {"dataset": record.dataset, "round": record.round, "number": record.number, "created": record.created}
    path = str(checked_copy(storage, record.path, record.bytes, record.checksum))
    return Files((path,), {**facts, "withdrawn": record.withdrawn or None}).sql()


def _calibration(storage: Storage, record: RoundRecord) -> Iterator[str]:
    """One SELECT a fit: each selection's on its review, and the round's on labels, which is no selection's own.

    A fit without bins, as from too few labels, gives one row with its verdict.
    """
    name = "reliability.parquet"
    for chosen in record.selections:
        for part in parts_with(_parts(storage, chosen.measures), name):
            fit: dict[str, Fact] = {fact: part.meta["calibration"].get(fact) for fact in _FIT}
            yield files_of(storage, record, [part], name, fit | {"selection_id": chosen.selection_id, "recipe": chosen.recipe}).sql()
    for part in parts_with(_parts(storage, record.roles.get("calibrate")), name):
        on_labels: dict[str, Fact] = {fact: part.meta.get(fact) for fact in _FIT} | {"selection_id": None, "recipe": None}
        found = files_of(storage, record, [part], name, on_labels)
        yield found.sql() if part.file(name).rows else found.constants()


def _first(storage: Storage, record: RoundRecord, name: str) -> Iterator[str]:
    """A SELECT of a file that says the same for all selections of a round: the first one's that has it."""
    for chosen in record.selections:
        for part in parts_with(_parts(storage, chosen.measures), name):
            yield files_of(storage, record, [part], name).sql()
            return


def _checks(storage: Storage, record: RoundRecord) -> Iterator[dict[str, Any]]:
    """Expected and reviewed counts of each selection that was reviewed."""
    for chosen in record.selections:
        about = {"dataset": record.dataset, "round": record.number, "selection_id": chosen.selection_id, "recipe": chosen.recipe}
        for part in _parts(storage, chosen.measures):
            yield from ({**about, **check} for check in part.meta.get("review_check") or ())


def _parts(storage: Storage, ref: StageRef | None) -> Sequence[Part]:
    manifest = read_stage(storage, ref.stage, ref.key) if ref else None
    return manifest.parts if manifest else ()
