"""Checkpoints in the snapshot: what was trained, and how each ranks held-out queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.audit.checkpoints import EvaluationRecord, read_evaluations, read_trainings, recorded_datasets
from tasks.audit.records import RoundRecord
from tasks.audit.source import create
from tasks.store.storage import Storage

if TYPE_CHECKING:
    from tasks.sql import DuckDBPyConnection

CHECKPOINT_TABLES = {
    "checkpoints": "What was trained on which round: retrievers and teachers, with what it cost.",
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
    ("metrics", "read"): "Models that had been measured on this split by then, this one among them.",
    ("metrics", "created"): "When it was recorded (UTC).",
}
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


def fill_checkpoints(database: DuckDBPyConnection, storage: Storage, rounds: Sequence[RoundRecord]) -> None:
    """Create the tables ``checkpoints`` and ``metrics``."""
    datasets = sorted({*(record.dataset for record in rounds), *recorded_datasets(storage)})
    trained = [{**one.model_dump(), **one.facts} for name in datasets for one in read_trainings(storage, name)]
    create(database, "checkpoints", _CHECKPOINTS, rows=[{name: row.get(name) for name in _CHECKPOINTS.names} for row in trained])
    measured = [
        {**one.model_dump(exclude={"measures", "evaluate"}), "read": read, "measure": measure, **values, "value": values["mean"]}
        for name in datasets
        for one, read in _counted(read_evaluations(storage, name))
        for measure, values in one.measures.items()
    ]
    create(database, "metrics", _METRICS, rows=[{name: row.get(name) for name in _METRICS.names} for row in measured])


def _counted(evaluations: Sequence[EvaluationRecord]) -> list[tuple[EvaluationRecord, int]]:
    """Each with the number of models that had been measured on its split by then."""
    seen: dict[str, set[str]] = {}
    found = []
    for one in evaluations:
        models = seen.setdefault(one.split.lower(), set())
        models.add(one.model)
        found.append((one, len(models)))
    return found
