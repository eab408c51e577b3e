"""What is checked before a model runs."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc

from flows.judging import check_judge
from flows.settings import MineSettings
from flows.sources import check_further
from tasks.audit.checkpoints import split_readers
from tasks.corpus.dataset import Dataset
from tasks.errors import InputError, UsageError
from tasks.evaluate.settings import EvaluateSettings
from tasks.folds import in_chunk
from tasks.models.fingerprint import body_spec, document_spec, query_spec, teacher_spec
from tasks.models.shape import check_one_space
from tasks.store.storage import Storage
from tasks.store.tables import read_parts


def check_new_folder(target: Path | None) -> None:
    """Fail before anything runs if files would be written among others.

    Raises:
        UsageError: the folder is not empty.
    """
    if target is not None and target.exists() and any(target.iterdir()):
        raise UsageError(f"{target}: the folder is not empty", "give a new folder with --out")


def check_models(settings: MineSettings, storage: Storage | None = None) -> None:
    """Fail before anything runs if a model is not there.

    Args:
        settings: of the run.
        storage: the root, where models may lie in it.

    Raises:
        ModelError: which one, and how to get it; or the encoders of queries and documents do not fit each other.
        InputError: a further source's files are missing, or have vectors of different dimensions.
    """
    check_further(settings, storage)
    document_spec(settings.document_encoder, storage)
    if settings.judge is not None:
        check_judge(settings.judge)
    for endpoint in settings.remote_endpoints:
        endpoint.key()
    if settings.document_model is not None:
        query_spec(settings.model, storage)
        if settings.model.remote is None and settings.document_model.remote is None:
            check_one_space(settings.model, settings.document_model, storage)
    if settings.teacher is not None:
        if settings.teacher.train is not None:
            body_spec(settings.teacher.train, storage)
        else:
            teacher_spec(settings.teacher, storage=storage)
        for member in settings.teacher.members:
            teacher_spec(member, storage=storage)
    if settings.fixed_encoder is not None:
        document_spec(settings.fixed_encoder, storage)


def check_test_unread(storage: Storage, dataset: str, settings: EvaluateSettings, model: str) -> None:
    """Fail before anything runs where split test is to be read a second time: its figure says what a choice is worth once.

    Args:
        storage: the root.
        dataset: name.
        settings: of the evaluation.
        model: fingerprint of the model that is to be measured; the same one again is no second reading.

    Raises:
        UsageError: another model was measured on test before, or recipes were compared by its truth, and ``reread_test`` is not set.
    """
    if settings.split.lower() != "test" or settings.reread_test:
        return
    before = [one for one in split_readers(storage, dataset, settings.split) if one != model]
    if before:
        raise UsageError(
            f"dataset {dataset}: split {settings.split!r} was read before, {len(before)} time(s): {', '.join(before[:3])}"
            + (" …" if len(before) > 3 else ""),
            "compare and choose by dev; to read test again in spite of that: --reread-test (evaluate.reread_test: true), which is counted",
        )


def mined_queries(storage: Storage, settings: MineSettings, dataset: Dataset) -> int:
    """How many queries the round mines.

    Raises:
        InputError: the chosen chunk has no query with a positive.
    """
    if settings.chunk is None:
        return dataset.query_count
    judged = read_parts(storage, dataset.queries, "qrels.parquet", ["query_id", "relevance"])
    positive = judged.filter(pc.greater_equal(judged["relevance"], settings.dataset.positive_min_grade))["query_id"]
    if not in_chunk(positive.to_pylist(), settings.chunk).any():
        raise InputError(
            f"dataset {dataset.name}: chunk {settings.query_chunk} of {settings.query_chunks} has no query with a positive",
            "mine in fewer chunks (query_chunks), or take another one (query_chunk)",
        )
    return int(
        in_chunk(read_parts(storage, dataset.queries, "queries.parquet", ["query_id"])["query_id"].to_pylist(), settings.chunk).sum()
    )


def check_mines_only(settings: MineSettings) -> None:
    """Fail where a run that only mines is told to train.

    Raises:
        UsageError: ``rounds`` or ``train`` is set.
    """
    if settings.trains:
        named = " and ".join([*(["rounds"] if settings.rounds > 1 else []), *(["train"] if settings.train is not None else [])])
        raise UsageError(
            f"{named}: hardmine watch mines for a trainer of your own, and trains nothing itself",
            "leave them out of run.yaml for watch, or run hardmine mine, which mines and trains in turn",
        )
