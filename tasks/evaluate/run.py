"""The work of the evaluate stage: pick the split's queries, search, rank, measure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.errors import InputError
from tasks.evaluate.by_slice import by_slice, sliced_queries
from tasks.evaluate.intervals import summary
from tasks.evaluate.judgements import Judgements, read_judgements
from tasks.evaluate.measures import per_query
from tasks.evaluate.search import Block, Floats, Ints, same_keys, search
from tasks.evaluate.settings import EvaluateSettings
from tasks.evaluate.stage import METRICS
from tasks.intervals import clusters
from tasks.runner.stage import Work
from tasks.store.output import Output
from tasks.store.tables import read_array, take_texts


@dataclass(frozen=True)
class Asked:
    """The queries that are measured on.

    Args:
        table: query_id, norm_hash, text, language, group.
        vectors: shape (q, dimension).
        qrels: query_id, doc_id, relevance: the positives.
        without_positives: queries of the split that were left out, since nothing is relevant to them.
    """

    table: pa.Table
    vectors: Floats
    qrels: pd.DataFrame
    without_positives: int


def run(work: Work, out: Output) -> None:
    """Write ``metrics.parquet`` and ``slices.parquet`` (:data:`tasks.evaluate.stage.SLICES`).

    Meta: split, queries, without_positives, positives, documents, measures (mean, low, high by name).
    """
    settings = EvaluateSettings.of(work.job.settings)
    asked = _asked(work, settings)
    starts = np.concatenate([[0], np.cumsum([part.files[0].rows for part in work.job.inputs["documents"]])]).astype(np.int64)
    numbers, _ = search(asked.vectors, _blocks(work, settings, asked, starts), settings.depth, work.report)
    ranked = _ranked(work, asked, numbers, starts, settings.depth)
    ids = asked.table["query_id"].to_pylist()
    qrels = _without_excluded(work, asked, settings)
    kept = [query for query in ids if query in set(qrels["query_id"])]
    if not kept:
        raise InputError(f"no query of split {settings.split!r} has a positive besides itself", "set exclude_self: none")
    values = per_query(settings.measures, qrels, ranked, kept)
    groups = clusters(asked.table.filter(pc.is_in(asked.table["query_id"], value_set=pa.array(kept, pa.string()))))
    count = len(settings.measures)
    columns = [
        np.repeat(np.asarray(kept, dtype=object), count),
        np.tile(np.asarray(settings.measures, dtype=object), len(kept)),
        values.ravel(),
    ]
    out.table("metrics.parquet", pa.table([pa.array(column) for column in columns], names=METRICS.names).cast(METRICS))
    out.table("slices.parquet", by_slice(sliced_queries(work, asked.table, qrels, kept), kept, values, groups, settings))
    out.meta.update(
        split=settings.split,
        queries=len(kept),
        without_positives=asked.without_positives + len(ids) - len(kept),
        positives=len(qrels),
        documents=int(starts[-1]),
        confidence=settings.confidence,
        measures=summary(settings.measures, values, settings.resamples, settings.confidence, settings.seed, groups),
    )


def _asked(work: Work, settings: EvaluateSettings) -> Asked:
    """The queries of the split that have a positive.

    Raises:
        InputError: there are none.
    """
    tables, vectors, judged, without = [], [], [], 0
    truth = _given_judgements(work)
    for part, embedded in zip(work.job.inputs["queries"], work.job.inputs["query_vectors"], strict=True):
        table = work.part_table(part, "queries.parquet", ["query_id", "split", "norm_hash", "text", "language", "group"])
        qrels = work.part_table(part, "qrels.parquet", ["query_id", "doc_id", "relevance"]) if truth is None else truth
        qrels = qrels.filter(
            pc.and_(pc.greater_equal(qrels["relevance"], work.job.settings["positive_min_grade"]), pc.greater(qrels["relevance"], 0))
        )
        own = np.asarray(pc.fill_null(pc.equal(pc.utf8_lower(table["split"]), settings.split.lower()), False))
        positive = np.asarray(pc.is_in(table["query_id"], value_set=qrels["query_id"].combine_chunks()))
        without += int((own & ~positive).sum())
        rows = np.flatnonzero(own & positive)
        tables.append(table.take(pa.array(rows)))
        vectors.append(np.asarray(read_array(work.storage, embedded.file("vectors.npy"))[rows], dtype=np.float32))
        judged.append(qrels.filter(pc.is_in(qrels["query_id"], value_set=tables[-1]["query_id"].combine_chunks())))
    chosen = pa.concat_tables(tables)
    if not chosen.num_rows:
        raise InputError(
            f"there are no queries of split {settings.split!r} with a positive",
            "set dataset.splits, or name the split of each query in the source; queries of no split count as train",
        )
    return Asked(chosen, np.concatenate(vectors), pa.concat_tables(judged).to_pandas(), without)


def _given_judgements(work: Work) -> pa.Table | None:
    given = work.job.options.get("judgements")
    return read_judgements(work.storage, Judgements.model_validate(given)) if given else None


def _key_names(settings: EvaluateSettings) -> tuple[str, str] | None:
    return {"none": None, "id": ("query_id", "doc_id"), "text": ("norm_hash", "norm_hash")}[settings.exclude_self]


def _blocks(work: Work, settings: EvaluateSettings, asked: Asked, starts: Ints) -> Iterator[Block]:
    names = _key_names(settings)
    nothing = np.empty(0, np.int64)
    own = _strings(asked.table[names[0]]) if names else None
    for number, (part, embedded) in enumerate(zip(work.job.inputs["documents"], work.job.inputs["document_vectors"], strict=True)):
        excluded = (nothing, nothing)
        if names and own is not None:
            excluded = same_keys(own, _strings(work.part_table(part, "docs.parquet", [names[1]])[names[1]]))
        yield Block(read_array(work.storage, embedded.file("vectors.npy")), int(starts[number]), excluded)


def _ranked(work: Work, asked: Asked, numbers: Ints, starts: Ints, depth: int) -> pd.DataFrame:
    """The run: query_id, doc_id and a score that falls by 1 a rank, so that ties are ours: by score, then doc_id."""
    query, slot = np.nonzero(numbers >= 0)
    found = numbers[query, slot]
    unique, place = np.unique(found, return_inverse=True)
    partition = np.searchsorted(starts, unique, side="right") - 1
    documents = take_texts(work.storage, work.job.inputs["documents"], partition, unique - starts[partition], ["doc_id"])
    names = _strings(documents["doc_id"])
    order_of_id = np.argsort(np.argsort(names.astype(str), kind="stable"), kind="stable")
    scores = _scores(work, asked, query, found, starts)
    order = np.lexsort((order_of_id[place.reshape(-1)], -scores, query))
    rank = np.arange(len(order)) - np.searchsorted(query[order], query[order])
    kept = rank < depth
    chosen = order[kept]
    ids = _strings(asked.table["query_id"])
    return pd.DataFrame(
        {"query_id": ids[query[chosen]], "doc_id": names[place.reshape(-1)[chosen]], "score": -rank[kept].astype(np.float64)}
    )


def _scores(work: Work, asked: Asked, query: Ints, found: Ints, starts: Ints) -> Floats:
    """Dot products one pair at a time, whose rounding depends on nothing else; shape (pairs,)."""
    scores = np.empty(len(query), dtype=np.float32)
    for number, embedded in enumerate(work.job.inputs["document_vectors"]):
        rows = np.flatnonzero((found >= starts[number]) & (found < starts[number + 1]))
        vectors = read_array(work.storage, embedded.file("vectors.npy"))
        for piece in np.array_split(rows, max(1, len(rows) // 65_536)):
            left = np.asarray(vectors[found[piece] - starts[number]], dtype=np.float32)
            scores[piece] = np.einsum("ij,ij->i", left, asked.vectors[query[piece]])
    return scores


def _without_excluded(work: Work, asked: Asked, settings: EvaluateSettings) -> pd.DataFrame:
    """The judgements without those of the documents that are not ranked."""
    qrels, names = asked.qrels, _key_names(settings)
    if names is None:
        return qrels
    if names[1] == "doc_id":
        return qrels[qrels["query_id"] != qrels["doc_id"]]
    own = dict(zip(asked.table["query_id"].to_pylist(), asked.table["norm_hash"].to_pylist(), strict=True))
    judged = pa.array(qrels["doc_id"].unique(), pa.string())
    hashes: dict[str, str] = {}
    for part in work.job.inputs["documents"]:
        table = work.part_table(part, "docs.parquet", ["doc_id", "norm_hash"])
        table = table.filter(pc.is_in(table["doc_id"], value_set=judged))
        hashes.update(zip(table["doc_id"].to_pylist(), table["norm_hash"].to_pylist(), strict=True))
    same = [hashes.get(doc) == own[query] for query, doc in zip(qrels["query_id"], qrels["doc_id"], strict=True)]
    return qrels[~np.asarray(same, dtype=bool)]


def _strings(column: pa.ChunkedArray) -> NDArray[np.object_]:
    return np.asarray(column.to_pylist(), dtype=object)
