"""Checkpoints in the snapshot: what was trained, and how each ranks held-out queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.audit.checkpoints import (
    EvaluationRecord,
    ReadingRecord,
    forgotten_models,
    read_evaluations,
    read_readings,
    read_trainings,
    recorded_datasets,
)
from tasks.audit.records import RoundRecord
from tasks.audit.source import Files, create, parts_with
from tasks.store.manifest import read_stage
from tasks.store.storage import Storage
from tasks.store.tables import local_file

if TYPE_CHECKING:
    from tasks.sql import DuckDBPyConnection

CHECKPOINT_TABLES = {
    "checkpoints": "What was trained on which round: retrievers and teachers, with what it cost.",
    "metric_slices": "The same of retrievers on slices of the held-out queries, as far as the evaluations' files are there.",
    "metrics": "How each checkpoint and each teacher ranks held-out queries: one row a measure, with its interval over queries.",
}
CHECKPOINT_COLUMNS = {
    "model": "Fingerprint of the checkpoint: the same weights have the same one wherever they lie.",
    "base": "Fingerprint of the model that the training started from.",
    "path": "Where the checkpoint lay when it was recorded; root:… stands for the root; empty: several, under the root only.",
    "steps": "Optimiser steps.",
    "samples": "Training rows.",
    "split": "Which split of the queries.",
    "qrels": "Checksum of the judgements, where they are not the dataset's own labels.",
    "measure": "Name of the measure, as ir-measures has it.",
}
CHECKPOINT_IN_TABLE = {
    ("checkpoints", "round"): "The round whose rows it was trained on; of a teacher the round that it was trained for; 0: none.",
    ("checkpoints", "kind"): "retriever or teacher.",
    ("checkpoints", "seconds"): "Seconds of training.",
    ("checkpoints", "created"): "When it was recorded (UTC).",
    ("metrics", "round"): "The round whose documents and queries were ranked; 0: of none yet.",
    ("metrics", "kind"): "retriever: it ranks all documents; teacher: it ranks those that the retriever found and it scored.",
    ("metrics", "value"): "Mean over the queries.",
    ("metrics", "low"): "Lower end of the interval over queries.",
    ("metrics", "high"): "Upper end of the interval over queries.",
    ("metrics", "queries"): "Queries that were measured on.",
    (
        "metrics",
        "read",
    ): "How often the split had been read by then: models measured on it, this one among them, retired ones too, and rounds "
    "whose recipes were compared by its truth.",
    ("metrics", "created"): "When it was recorded (UTC).",
}
CHECKPOINT_IN_TABLE |= {("metric_slices", name): CHECKPOINT_IN_TABLE["metrics", name] for name in ("round", "kind", "value", "low", "high")}
_CHECKPOINTS = pa.schema(
    [
        ("dataset", pa.string()),
        ("round", pa.int32()),
        *((name, pa.string()) for name in ("kind", "recipe", "selection_id", "model", "base", "path")),
        ("steps", pa.int64()),
        ("samples", pa.int64()),
        ("seconds", pa.float64()),
        ("created", pa.string()),
    ]
)
_METRICS = pa.schema(
    [
        ("dataset", pa.string()),
        ("round", pa.int32()),
        *((name, pa.string()) for name in ("kind", "model", "path", "split", "qrels")),
        ("queries", pa.int64()),
        ("read", pa.int32()),
        ("measure", pa.string()),
        *((name, pa.float64()) for name in ("value", "low", "high")),
        ("created", pa.string()),
    ]
)
_METRIC_SLICES = pa.schema(
    [
        ("dataset", pa.string()),
        ("round", pa.int32()),
        *((name, pa.string()) for name in ("kind", "model", "split", "qrels", "slice", "value_of_slice", "measure")),
        *((name, pa.float64()) for name in ("value", "low", "high")),
        ("queries", pa.int64()),
        ("small", pa.bool_()),
    ]
)


def fill_checkpoints(database: DuckDBPyConnection, storage: Storage, rounds: Sequence[RoundRecord]) -> None:
    """Create the tables ``checkpoints``, ``metrics`` and ``metric_slices``."""
    datasets = sorted({*(record.dataset for record in rounds), *recorded_datasets(storage)})
    trained = [{**one.model_dump(), **one.facts} for name in datasets for one in read_trainings(storage, name)]
    create(database, "checkpoints", _CHECKPOINTS, rows=[{name: row.get(name) for name in _CHECKPOINTS.names} for row in trained])
    evaluations = {name: read_evaluations(storage, name) for name in datasets}
    sliced = [query for each in evaluations.values() for one in each for query in _slices(storage, one)]
    create(database, "metric_slices", _METRIC_SLICES, sliced, only=True)
    measured = [
        {**one.model_dump(exclude={"measures", "evaluate"}), "read": read, "measure": measure, **values, "value": values["mean"]}
        for name, each in evaluations.items()
        for one, read in _counted(each, forgotten_models(storage, name), read_readings(storage, name))
        for measure, values in one.measures.items()
    ]
    create(database, "metrics", _METRICS, rows=[{name: row.get(name) for name in _METRICS.names} for row in measured])


def _slices(storage: Storage, evaluation: EvaluationRecord) -> Iterator[str]:
    """One SELECT where the evaluation's slices are there."""
    found = read_stage(storage, evaluation.evaluate.stage, evaluation.evaluate.key)
    facts = {name: getattr(evaluation, name) for name in ("dataset", "round", "kind", "model", "split", "qrels")}
    for part in parts_with(found.parts if found is not None else (), "slices.parquet"):
        yield f"SELECT * RENAME (mean AS value) FROM ({Files((str(local_file(storage, part.file('slices.parquet'))),), facts).sql()})"


def _counted(
    evaluations: Sequence[EvaluationRecord], before: Mapping[str, Sequence[str]], readings: Sequence[ReadingRecord]
) -> list[tuple[EvaluationRecord, int]]:
    """Each with how often its split had been read by then: by models, retired ones (``before``) too, and by comparisons of recipes."""
    seen = {split: set(models) for split, models in before.items()}
    found = []
    for one in evaluations:
        models = seen.setdefault(one.split.lower(), set())
        models.add(one.model)
        compared = sum(1 for reading in readings if reading.split == one.split.lower() and reading.created <= one.created)
        found.append((one, len(models) + compared))
    return found
