"""Stages ``label-means`` and ``label-stars``: what the labels gather around each document.

A document's *star* is the document and the queries for which it is a labelled positive, as unit vectors of the retriever. Each is centred
on the mean of its own kind (documents or queries) and brought to length 1 again, so that two unrelated texts have similarity 0
whatever the model's anisotropy. Planted positives are not part of a star: the scored table does not call them positives. Promoted ones are
not either: they rest on this evidence, and would confirm themselves. Nor are labels of queries that calibrate, choose or test: what is
trained on this evidence must not have seen them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.features.base import Beyond, label_columns, only, rows, unpromoted
from tasks.folds import Fold, in_chunk
from tasks.models.order import is_trained
from tasks.runner.stage import Job, Stage, Work
from tasks.schema import PROMOTED
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.tables import read_array, read_table

MEANS = Stage(name="label-means", version=1, function="tasks.features.stars:run_means", unit="texts")
STARS = Stage(name="label-stars", version=2, function="tasks.features.stars:run_stars", unit="documents")

Vectors = NDArray[np.float32]
_BLOCK = 65_536


def mean_jobs(document_vectors: Sequence[Part], query_vectors: Sequence[Part]) -> list[Job]:
    """One job over all vectors."""
    inputs = {"documents": only(document_vectors, "vectors.npy"), "queries": only(query_vectors, "vectors.npy")}
    units = rows(document_vectors, "vectors.npy") + rows(query_vectors, "vectors.npy")
    return [Job(index="all", inputs=inputs, settings={}, units=units)]


def run_means(work: Work, out: Output) -> None:
    """Write ``means.npy``, float64 (2, dimensions): the mean unit vector of the documents, then of the queries."""
    means = [_mean(work, work.job.inputs[kind]) for kind in ("documents", "queries")]
    out.array("means.npy", np.stack(means))
    out.count(model_calls=0)


def star_jobs(
    scored: Sequence[Part],
    document_vectors: Sequence[Part],
    query_vectors: Sequence[Part],
    means: Part,
    queries: Sequence[Part] = (),
    beyond: Beyond | None = None,
) -> list[Job]:
    """One job a document partition.

    Args:
        scored: parts of ``scored``, in the order of the query partitions.
        document_vectors: parts of ``embed-documents``.
        query_vectors: parts of ``embed-queries``, in the order of ``scored``.
        means: the part of ``label-means``.
        queries: parts with ``queries.parquet`` (and ``qrels.parquet``, for ``beyond``), in the order of ``scored``; only labels of queries
            that may be trained on count. None: all labels count.
        beyond: labels of queries that are not in the scored table.
    """
    shared = {"queries": only(query_vectors, "vectors.npy"), "scored": only(scored, "scored.parquet"), "means": (means,)}
    keyed: dict[str, Any] = {}
    if queries:
        shared["splits"] = only(queries, "queries.parquet")
    if beyond is not None:
        shared["labels"] = tuple(part.only("queries.parquet", "qrels.parquet") for part in queries)
        keyed = {"beyond": [beyond.chunk.number, beyond.chunk.count], "positive_min_grade": beyond.positive_min_grade}
    return [
        Job(
            index=part.index,
            inputs={"documents": (part.only("vectors.npy"),), **shared},
            settings={"partition": number, **keyed},
            units=part.file("vectors.npy").rows or 0,
        )
        for number, part in enumerate(document_vectors)
    ]


def run_stars(work: Work, out: Output) -> None:
    """Write the stars' sums, sizes and inner similarities, row-aligned with the documents; meta: pairs and their total similarity.

    ``sums.npy`` float32 (n, dimensions): the members' sum. ``sizes.npy`` int32 (n,): members. ``inner.npy`` float64 (n,): summed
    similarity of all pairs of members.
    """
    means = read_array(work.storage, work.job.inputs["means"][0].file("means.npy"))
    vectors = read_array(work.storage, work.job.inputs["documents"][0].file("vectors.npy"))
    sums = centred(vectors, means[0]).astype(np.float64)
    squares = np.einsum("ij,ij->i", sums, sums)
    sizes = np.ones(len(sums), dtype=np.int32)
    partition = int(work.job.settings["partition"])
    for number, asked in enumerate(work.job.inputs["queries"]):
        document, labelled = _labelled(work, number, partition)
        kept = _may_train(work, number, labelled)
        document, labelled = document[kept], labelled[kept]
        query = centred(read_array(work.storage, asked.file("vectors.npy"))[labelled], means[1]).astype(np.float64)
        np.add.at(sums, document, query)
        np.add.at(squares, document, np.einsum("ij,ij->i", query, query))
        np.add.at(sizes, document, 1)
    inner = (np.einsum("ij,ij->i", sums, sums) - squares) / 2
    pairs = sizes.astype(np.int64) * (sizes - 1) // 2
    out.array("sums.npy", sums.astype(np.float32))
    out.array("sizes.npy", sizes)
    out.array("inner.npy", inner)
    out.meta.update({"pairs": int(pairs.sum()), "similarity": float(inner[pairs > 0].sum())})
    out.count(model_calls=0)
    work.report(len(sums))


def _may_train(work: Work, number: int, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows of a query partition may be trained on; (n,)."""
    if "splits" not in work.job.inputs:
        return np.ones(len(rows), dtype=bool)
    split = work.part_table(work.job.inputs["splits"][number], "queries.parquet", ["split"])["split"]
    trained: NDArray[np.bool_] = np.asarray(is_trained(split))[rows]
    return trained


def _labelled(work: Work, number: int, partition: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the partition's documents and of the queries of part ``number``, where a label of people's joins them."""
    file = work.job.inputs["scored"][number].file("scored.parquet")
    labels = read_table(work.storage, file, label_columns(work.storage, file))
    labels = labels.filter(pc.and_(unpromoted(labels), pc.equal(labels["doc_partition"], partition)))
    document, query = (labels[name].to_numpy().astype(np.int64) for name in ("doc_row", "query_row"))
    if "labels" not in work.job.inputs:
        return document, query
    further, others = _labels_beyond(work, work.job.inputs["labels"][number], partition)
    return np.concatenate([document, further]), np.concatenate([query, others])


def _labels_beyond(work: Work, part: Part, partition: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same of queries that were not mined."""
    ids = work.part_table(part, "queries.parquet", ["query_id"])["query_id"].combine_chunks()
    mined = pa.array(in_chunk(ids.to_pylist(), Fold(*work.job.settings["beyond"])))
    qrels = work.part_table(part, "qrels.parquet", ["query_id", "doc_partition", "doc_row", "relevance", "provenance"])
    row = pc.index_in(qrels["query_id"], value_set=ids)
    positive = pc.greater_equal(qrels["relevance"], int(work.job.settings["positive_min_grade"]))
    people = pc.fill_null(pc.not_equal(qrels["provenance"], PROMOTED), True)
    here = pc.and_(pc.equal(qrels["doc_partition"], partition), pc.invert(mined.take(row)))
    wanted = pc.and_(pc.and_(positive, people), here)
    document, query = (column.filter(wanted).to_numpy().astype(np.int64) for column in (qrels["doc_row"], row))
    return document, query


def spread(sizes: NDArray[Any], inner: NDArray[np.float64], overall: float) -> NDArray[np.float64]:
    """Mean similarity of two members of each star, drawn towards the overall one by the weight of one pair.

    Args:
        sizes: (n,) members.
        inner: (n,) summed similarity of all pairs of members.
        overall: mean similarity over the pairs of all stars.

    Returns:
        (n,) float64, at least a quarter of ``overall``.

    >>> spread(np.array([1, 2, 3]), np.array([0.0, 0.6, 0.3]), 0.4).round(3).tolist()
    [0.4, 0.5, 0.175]
    """
    pairs = sizes * (sizes - 1) / 2
    drawn: NDArray[np.float64] = np.maximum((inner + overall) / (pairs + 1), overall / 4)
    return drawn


def centred(vectors: NDArray[Any], mean: NDArray[np.float64]) -> Vectors:
    """Unit vectors of the directions from the mean unit vector; a vector at the mean itself stays 0."""
    return _unit(_unit(vectors) - mean.astype(np.float32))


def _unit(vectors: NDArray[Any]) -> Vectors:
    plain = np.asarray(vectors, dtype=np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", plain, plain, dtype=np.float64))[:, None]
    result: Vectors = np.divide(plain, norms, out=np.zeros_like(plain), where=norms > 0)
    return result


def _mean(work: Work, parts: Sequence[Part]) -> NDArray[np.float64]:
    total, count = None, 0
    for part in parts:
        vectors = read_array(work.storage, part.file("vectors.npy"))
        for start in range(0, len(vectors), _BLOCK):
            block = _unit(vectors[start : start + _BLOCK]).sum(axis=0, dtype=np.float64)
            total = block if total is None else total + block
        count += len(vectors)
        work.report(len(vectors))
    if total is None:
        return np.zeros(0)
    return np.asarray(total / max(count, 1), dtype=np.float64)
