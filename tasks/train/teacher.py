"""Stage ``train-teacher``: a cross-encoder from the round's own labels, where no teacher is given."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from tasks.errors import InputError, UsageError
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
) -> list[Job]:
    """The one job ``teacher``; its units are the training steps.

    Args:
        storage: the root; the candidates' ids, labels and ranks are read.
        candidates: all committed parts.
        queries: all committed parts, of the same indices.
        documents: all committed parts, in order.
        settings: with ``train`` set.
        sources: of the candidates.

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
    chosen = choose(storage, tables, ordered, training, sources)[1]
    body = body_spec(training)
    return [
        Job(
            index="teacher",
            inputs={"candidates": tables, "queries": ordered, "documents": tuple(part.only("docs.parquet") for part in documents)},
            settings={
                "training": training.model_dump(mode="json", exclude={"body", "revision", "dtype"}),
                "body": body.weights,
                "dtype": body.dtype,
                "device": body.device,
                "prompt": settings.prompt,
                "title_template": settings.title_template,
                "sources": list(sources),
            },
            options={"spec": body.model_dump(mode="json"), "training": training.model_dump(mode="json")},
            units=training.epochs * steps(chosen.trained, training.batch_size),
        )
    ]


def steps(pairs: int, batch_size: int) -> int:
    """Steps an epoch."""
    return -(-pairs // batch_size)


def choose(
    storage: Storage, candidates: Sequence[Part], queries: Sequence[Part], training: TeacherTraining, sources: Sequence[str]
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
    chosen = sample(table, groups, training, sources)
    if chosen.trained == 0 or chosen.labels[~chosen.holdout].min() == chosen.labels[~chosen.holdout].max():
        raise InputError(
            "no teacher can be trained: there are no labelled pairs with candidates to set against them",
            "check the qrels and min_rank/max_rank, raise max_pairs, or give a teacher's path",
        )
    return table, chosen


def _groups(table: pa.Table, queries: pa.Table) -> list[str]:
    """Group of each query of a candidates table, in its order; a query without one is its own."""
    named = dict(zip(queries["query_id"].to_pylist(), queries["group"].to_pylist(), strict=True))
    ids = table["query_id"].unique().to_pylist()
    return [str(named.get(query_id) or query_id) for query_id in ids]
