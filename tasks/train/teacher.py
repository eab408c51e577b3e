"""Stage ``train-teacher``: a cross-encoder from the round's own labels, where no teacher is given."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from tasks.errors import InputError, UsageError
from tasks.folds import Fold, query_groups
from tasks.models.fingerprint import body_spec
from tasks.models.settings import TeacherSettings, TeacherTraining
from tasks.runner.stage import Job, Stage
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import read_table
from tasks.train.sampling import Sample, sample

STAGE = Stage(name="train-teacher", version=1, function="tasks.train.run:run", unit="steps")

_COLUMNS = ["query_id", "query_row", "doc_partition", "doc_row", "relevance", "is_positive", "query_hash", "doc_hash"]


def jobs(
    storage: Storage,
    candidates: Sequence[Part],
    queries: Sequence[Part],
    documents: Sequence[Part],
    settings: TeacherSettings,
    sources: Sequence[str],
    folds: int = 0,
) -> list[Job]:
    """The job ``teacher``, or ``teacher.0`` … for teachers that each leave one fold of the query groups out; units are training steps.

    Args:
        storage: the root; the candidates' ids, labels and ranks are read.
        candidates: all committed parts.
        queries: all committed parts, of the same indices.
        documents: all committed parts, in order.
        settings: with ``train`` set.
        sources: of the candidates.
        folds: how many teachers; 0: one, which leaves out ``holdout``.

    Raises:
        UsageError: ``settings.train`` is not set.
        InputError: there are no labelled pairs to train on.
    """
    if settings.train is None:
        raise UsageError("teacher.train is not set", "give teacher: {train: {}}")
    training = settings.train
    by_index = {part.index: part for part in queries}
    ordered = tuple(by_index[part.index].only("queries.parquet") for part in candidates)
    tables = tuple(part.only("candidates.parquet") for part in candidates)
    body = body_spec(training)
    made = []
    each: list[Fold | None] = [Fold(number, folds) for number in range(folds)]
    for fold in each or [None]:
        chosen = choose(storage, tables, ordered, training, sources, fold)[1]
        job = Job(
            index="teacher" if fold is None else f"teacher.{fold.number}",
            inputs={"candidates": tables, "queries": ordered, "documents": tuple(part.only("docs.parquet") for part in documents)},
            settings={
                "training": training.model_dump(mode="json", exclude={"body", "revision", "dtype", "folds"}),
                "body": body.weights,
                "dtype": body.dtype,
                "device": body.device,
                "prompt": settings.prompt,
                "title_template": settings.title_template,
                "sources": list(sources),
                "fold": None if fold is None else [fold.number, fold.count],
            },
            options={"spec": body.model_dump(mode="json"), "training": training.model_dump(mode="json")},
            units=training.epochs * steps(chosen.trained, training.batch_size),
        )
        made.append(job)
    return made


def steps(pairs: int, batch_size: int) -> int:
    """Steps an epoch."""
    return -(-pairs // batch_size)


def count_training_pairs(
    storage: Storage, candidates: Sequence[Part], queries: Sequence[Part], training: TeacherTraining, sources: Sequence[str]
) -> int:
    """Pairs that one teacher would be trained on in an epoch."""
    by_index = {part.index: part for part in queries}
    return choose(storage, candidates, [by_index[part.index] for part in candidates], training, sources)[1].trained


def choose(
    storage: Storage,
    candidates: Sequence[Part],
    queries: Sequence[Part],
    training: TeacherTraining,
    sources: Sequence[str],
    fold: Fold | None = None,
) -> tuple[pa.Table, Sample]:
    """All candidates (with the number of their part as ``part``), and which of them are used.

    Raises:
        InputError: there are no labelled pairs, or no candidates to set against them.
    """
    tables, groups = [], []
    for number, (part, asked) in enumerate(zip(candidates, queries, strict=True)):
        table = read_table(storage, part.file("candidates.parquet"), [*_COLUMNS, *(f"{source}_rank" for source in sources)])
        tables.append(table.append_column("part", pa.array([number] * table.num_rows, pa.int32())))
        groups += _groups(table, read_table(storage, asked.file("queries.parquet"), ["query_id", "group"]))
    table = pa.concat_tables(tables)
    chosen = sample(table, groups, training, sources, fold)
    if chosen.trained == 0 or chosen.labels[~chosen.holdout].min() == chosen.labels[~chosen.holdout].max():
        raise InputError(
            "no teacher can be trained: there are no labelled pairs with candidates to set against them",
            "check the qrels and min_rank/max_rank, raise max_pairs, or give a teacher's path",
        )
    return table, chosen


def _groups(table: pa.Table, queries: pa.Table) -> list[str]:
    """Group of each query of a candidates table, in its order."""
    ids = table["query_id"].unique().to_pylist()
    return query_groups(ids, queries["query_id"].to_pylist(), queries["group"].to_pylist())
