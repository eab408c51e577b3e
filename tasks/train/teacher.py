"""Stage ``train-teacher``: a cross-encoder from the round's own labels, where no teacher is given."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import InputError, UsageError
from tasks.folds import Fold, query_groups
from tasks.models.fingerprint import body_spec
from tasks.models.order import is_trained
from tasks.models.settings import TeacherSettings, TeacherTraining
from tasks.runner.stage import Job, Stage
from tasks.schema import PROMOTED, REVIEWED
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import read_table
from tasks.train.sampling import Sample, sample

STAGE = Stage(name="train-teacher", version=5, function="tasks.train.run:run", unit="steps", model=True)

_AUTO_FOLDS = 3
_BACKWARD = 3  # a training step costs about three forward passes
_COLUMNS = [
    "query_id",
    "query_row",
    "doc_partition",
    "doc_row",
    "relevance",
    "is_positive",
    "planted",
    "provenance",
    "query_hash",
    "doc_hash",
]


def jobs(
    storage: Storage,
    candidates: Sequence[Part],
    queries: Sequence[Part],
    documents: Sequence[Part],
    settings: TeacherSettings,
    sources: Sequence[str],
    to_score: int = 0,
) -> list[Job]:
    """The job ``teacher``, or ``teacher.0`` … for teachers that each leave one fold of the query groups out; units are training steps.

    Args:
        storage: the root; the candidates' ids, labels and ranks are read.
        candidates: all committed parts.
        queries: all committed parts, of the same indices.
        documents: all committed parts, in order.
        settings: with ``train`` set.
        sources: of the candidates.
        to_score: pairs that the teachers will score: what ``folds: auto`` weighs their training against.

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
    body = body_spec(training, storage)
    table, groups = _gather(storage, tables, ordered, sources)
    alone = _pick(table, groups, training, sources)
    folds = training.folds if training.folds != "auto" else automatic_folds(alone.trained * training.epochs, to_score)
    made = []
    each: list[Fold | None] = [Fold(number, folds) for number in range(folds)]
    for fold in each or [None]:
        chosen = alone if fold is None else _pick(table, groups, training, sources, fold)
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


def automatic_folds(trained: int, to_score: int) -> int:
    """Several teachers, where training them costs less than half of the scoring; else one.

    Args:
        trained: pairs that one teacher is trained on, over all epochs.
        to_score: pairs that are scored.

    >>> automatic_folds(100, 1_800), automatic_folds(100, 1_799)
    (3, 0)
    """
    return _AUTO_FOLDS if _AUTO_FOLDS * trained * _BACKWARD <= to_score / 2 else 0


def choose(
    storage: Storage,
    candidates: Sequence[Part],
    queries: Sequence[Part],
    training: TeacherTraining,
    sources: Sequence[str],
    fold: Fold | None = None,
) -> tuple[pa.Table, Sample]:
    """Candidates of the queries that may be trained on (with the number of their part as ``part``), and which of them are used.

    Raises:
        InputError: there are no labelled pairs, or no candidates to set against them.
    """
    table, groups = _gather(storage, candidates, queries, sources)
    return table, _pick(table, groups, training, sources, fold)


def _gather(storage: Storage, candidates: Sequence[Part], queries: Sequence[Part], sources: Sequence[str]) -> tuple[pa.Table, list[str]]:
    """Candidates of the queries that may be trained on, with the number of their part, and the group of each of these queries.

    Those of other queries are not even drawn from: whether one is there says whether it is labelled.
    """
    tables, groups = [], []
    for number, (part, asked) in enumerate(zip(candidates, queries, strict=True)):
        known = read_table(storage, asked.file("queries.parquet"), ["query_id", "group", "split"])
        table = read_table(storage, part.file("candidates.parquet"), [*_COLUMNS, *(f"{source}_rank" for source in sources)])
        trained = known["query_id"].filter(is_trained(known["split"]))
        table = as_labelled(table.filter(pc.is_in(table["query_id"], value_set=trained.combine_chunks())), trained)
        tables.append(table.append_column("part", pa.array([number] * table.num_rows, pa.int32())))
        groups += _groups(table, known)
    return pa.concat_tables(tables), groups


def as_labelled(candidates: pa.Table, trained: pa.ChunkedArray) -> pa.Table:
    """Labels as a teacher learns them: those of queries that may be trained on.

    A promoted pair is neither positive nor negative: a teacher had a part in it, and would confirm itself. What a reviewer called not
    relevant may be a negative, as an unlabelled pair may.

    Args:
        candidates: query_id, relevance, is_positive, provenance.
        trained: ids of the queries of the split train, or of none; a query without a label takes no part.
    """
    own = pc.is_in(candidates["query_id"], value_set=trained.combine_chunks())
    promoted = pc.fill_null(pc.equal(candidates["provenance"], PROMOTED), False)
    reviewed = pc.fill_null(pc.equal(candidates["provenance"], REVIEWED), False)
    zero = pc.and_(reviewed, pc.invert(pc.fill_null(candidates["is_positive"], False)))
    changed = {
        "relevance": pc.if_else(zero, pa.scalar(None, pa.int32()), candidates["relevance"]),
        "is_positive": pc.and_(pc.and_(candidates["is_positive"], pc.invert(promoted)), own),
    }
    for name, column in changed.items():
        candidates = candidates.set_column(candidates.column_names.index(name), name, column)
    return candidates


def _pick(table: pa.Table, groups: Sequence[str], training: TeacherTraining, sources: Sequence[str], fold: Fold | None = None) -> Sample:
    chosen = sample(table, groups, training, sources, fold)
    if chosen.trained == 0 or chosen.labels[~chosen.holdout].min() == chosen.labels[~chosen.holdout].max():
        raise InputError(
            "no teacher can be trained: there are no labelled pairs with candidates to set against them",
            "check the qrels and min_rank/max_rank, raise max_pairs, or give a teacher's path",
        )
    return chosen


def _groups(table: pa.Table, queries: pa.Table) -> list[str]:
    """Group of each query of a candidates table, in its order."""
    ids = table["query_id"].unique().to_pylist()
    return query_groups(ids, queries["query_id"].to_pylist(), queries["group"].to_pylist())
