"""Checkpoints as records: what was trained on which round, what each measured on held-out queries, and who else read their truth.

Behind one pointer a dataset.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from tasks.audit.records import StageRef
from tasks.store.keys import digest
from tasks.store.pointers import read_pointer, rebuild_pointer, update_pointer
from tasks.store.seal import find_record, put_record, read_record
from tasks.store.storage import Storage

READINGS = "readings/"  # pointers: models that were measured and are retired


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainingRecord(_Record):
    """One training of a retriever, or of a teacher.

    Args:
        dataset: name.
        round: whose rows it was trained on.
        kind: retriever or teacher.
        recipe: of the selection; empty for a teacher.
        selection_id: the same.
        train: the stage.
        base: fingerprint of the model that it started from.
        model: fingerprint of the checkpoint.
        path: where it lay when it was recorded; ``root:…`` in the root.
        created: when (UTC).
        facts: steps, samples, seconds and the like.
    """

    dataset: str
    round: int
    kind: str = "retriever"
    recipe: str = ""
    selection_id: str = ""
    train: StageRef
    base: str
    model: str
    path: str
    created: str = ""
    facts: dict[str, Any] = {}


class EvaluationRecord(_Record):
    """One checkpoint, or one teacher, on one split.

    Args:
        dataset: name.
        round: whose documents and queries were ranked; 0: of none yet.
        kind: retriever or teacher.
        model: fingerprint of the checkpoint.
        path: where it lay when it was recorded; ``root:…`` in the root.
        split: queries that it was measured on.
        qrels: checksum of the judgements, where they are not the dataset's own.
        evaluate: the stage.
        queries: how many.
        measures: mean, low, high by measure.
        created: when (UTC).
    """

    dataset: str
    round: int
    kind: str = "retriever"
    model: str
    path: str
    split: str
    qrels: str = ""
    evaluate: StageRef
    queries: int
    measures: dict[str, dict[str, float]]
    created: str = ""


class ReadingRecord(_Record):
    """Recipes or thresholds of a round were compared by the truth of a held-out split.

    Args:
        dataset: name.
        round: whose recipes.
        split: whose truth.
        created: when first (UTC).
    """

    dataset: str
    round: int
    split: str
    created: str = ""


Record = TypeVar("Record", TrainingRecord, EvaluationRecord, ReadingRecord)
_KINDS: dict[str, type[TrainingRecord] | type[EvaluationRecord] | type[ReadingRecord]] = {
    "trained": TrainingRecord,
    "evaluated": EvaluationRecord,
    "read": ReadingRecord,
}


def publish_training(storage: Storage, record: TrainingRecord) -> TrainingRecord:
    """Keep what was trained; the same training again changes nothing."""
    found = next((one for one in read_trainings(storage, record.dataset) if (one.train, one.round) == (record.train, record.round)), None)
    return found or _publish(storage, "trained", record)


def publish_evaluation(storage: Storage, record: EvaluationRecord) -> EvaluationRecord:
    """Keep what was measured; the same measurement again changes nothing."""
    same = (one for one in read_evaluations(storage, record.dataset) if (one.evaluate, one.model) == (record.evaluate, record.model))
    return next(same, None) or _publish(storage, "evaluated", record)


def publish_reading(storage: Storage, record: ReadingRecord) -> ReadingRecord:
    """Keep that a truth was read; the same round's again is no further reading."""
    same = (one for one in read_readings(storage, record.dataset) if (one.round, one.split) == (record.round, record.split))
    return next(same, None) or _publish(storage, "read", record)


def read_trainings(storage: Storage, dataset: str) -> list[TrainingRecord]:
    """All trainings of a dataset, in the order in which they were recorded."""
    return [read_record(storage, name, TrainingRecord) for name in _names(storage, dataset, "trained")]


def read_evaluations(storage: Storage, dataset: str) -> list[EvaluationRecord]:
    """All evaluations of a dataset, in the order in which they were recorded."""
    return [read_record(storage, name, EvaluationRecord) for name in _names(storage, dataset, "evaluated")]


def read_readings(storage: Storage, dataset: str) -> list[ReadingRecord]:
    """All comparisons by a held-out split's truth, in the order in which they were recorded."""
    return [read_record(storage, name, ReadingRecord) for name in _names(storage, dataset, "read")]


def checkpoint_manifests(storage: Storage, dataset: str) -> list[str]:
    """Names of all records of all kinds."""
    return [name for kind in _KINDS for name in _names(storage, dataset, kind)]


def records_of(storage: Storage, dataset: str, models: Collection[str]) -> set[str]:
    """Names of the records of some models' own trainings and evaluations; a training that began with one of them is none."""
    trained = {name for name in _names(storage, dataset, "trained") if read_record(storage, name, TrainingRecord).model in models}
    return trained | {
        name for name in _names(storage, dataset, "evaluated") if read_record(storage, name, EvaluationRecord).model in models
    }


def rebuild_checkpoints(storage: Storage, dataset: str) -> None:
    """Make a dataset's pointer anew from its records, by their times."""
    content = {}
    for kind, record in _KINDS.items():
        names = [name for name in storage.list_names(f"manifests/checkpoints/{dataset}/") if name.rpartition("/")[2].startswith(f"{kind}-")]
        dated = [(found.created, name) for name in names if (found := find_record(storage, name, record)) is not None]
        content[kind] = [name for _, name in sorted(dated)]
    rebuild_pointer(storage, f"checkpoints/{dataset}", content)


def models_measured(storage: Storage, dataset: str, split: str) -> tuple[str, ...]:
    """Fingerprints of the models that were measured on a split, in the order of their first time; retired ones too.

    A split that chooses among many says too much good of the chosen one. The same model measured again, by other judgements too, is no
    further one: there is nothing to choose.
    """
    there = (one.model for one in read_evaluations(storage, dataset) if one.split.lower() == split.lower())
    return tuple(dict.fromkeys([*forgotten_models(storage, dataset).get(split.lower(), []), *there]))


def split_readers(storage: Storage, dataset: str, split: str) -> tuple[str, ...]:
    """Who read a split's truth.

    :func:`models_measured`, and ``recipes of DATASET/ROUND`` for each round whose recipes were compared by it.
    """
    compared = (f"recipes of {dataset}/{one.round}" for one in read_readings(storage, dataset) if one.split.lower() == split.lower())
    return (*models_measured(storage, dataset, split), *compared)


def forgotten_models(storage: Storage, dataset: str) -> dict[str, list[str]]:
    """By split, in lower case, the models whose evaluations were retired: that they were measured stays known."""
    return dict(read_pointer(storage, f"{READINGS}{dataset}") or {})


def keep_readings(storage: Storage, dataset: str, retired: Collection[str]) -> None:
    """Note which models were measured on which split, before records of theirs go.

    Args:
        storage: the root.
        dataset: name.
        retired: names of the records.
    """
    gone = [read_record(storage, name, EvaluationRecord) for name in _names(storage, dataset, "evaluated") if name in retired]

    def change(present: dict[str, Any] | None) -> dict[str, Any]:
        found: dict[str, list[str]] = dict(present or {})
        for one in gone:
            found[one.split.lower()] = list(dict.fromkeys([*found.get(one.split.lower(), []), one.model]))
        return found

    if gone:
        update_pointer(storage, f"{READINGS}{dataset}", change)


def recorded_datasets(storage: Storage) -> list[str]:
    """Names of the datasets that have records, whether they have rounds or not."""
    return sorted({name.split("/")[2] for name in storage.list_names("manifests/checkpoints/")})


def _publish(storage: Storage, kind: str, record: Record) -> Record:
    dated = record.model_copy(update={"created": datetime.now(UTC).isoformat("T", "seconds")})
    name = f"manifests/checkpoints/{dated.dataset}/{kind}-{digest(dated.model_dump(mode='json'))[:16]}.json"
    put_record(storage, name, dated)

    def change(present: dict[str, Any] | None) -> dict[str, Any]:
        names: dict[str, Any] = dict(present or {})
        return {**names, kind: list(dict.fromkeys([*names.get(kind, []), name]))}

    update_pointer(storage, f"checkpoints/{dated.dataset}", change)
    return dated


def _names(storage: Storage, dataset: str, kind: str) -> list[str]:
    return list((read_pointer(storage, f"checkpoints/{dataset}") or {}).get(kind, []))
