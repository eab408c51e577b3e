"""Stages ``label-means`` and ``label-stars``: what the labels gather around each document.

A document's *star* is the document and the queries for which it is a labelled positive, as unit vectors of the retriever. Each is centred
on the mean of its own kind (documents or queries) and brought to length 1 again, so that two unrelated texts have similarity 0
whatever the model's anisotropy. Planted positives are not part of a star: the scored table does not call them positives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.features.base import only, rows
from tasks.runner.stage import Job, Stage, Work
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.tables import read_array, read_table

MEANS = Stage(name="label-means", version=1, function="tasks.features.stars:run_means", unit="texts")
STARS = Stage(name="label-stars", version=1, function="tasks.features.stars:run_stars", unit="documents")

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


def star_jobs(scored: Sequence[Part], document_vectors: Sequence[Part], query_vectors: Sequence[Part], means: Part) -> list[Job]:
    """One job a document partition.

    Args:
        scored: parts of ``scored``, in the order of the query partitions.
        document_vectors: parts of ``embed-documents``.
        query_vectors: parts of ``embed-queries``, in the order of ``scored``.
        means: the part of ``label-means``.
    """
    shared = {"queries": only(query_vectors, "vectors.npy"), "scored": only(scored, "scored.parquet"), "means": (means,)}
    return [
        Job(
            index=part.index,
            inputs={"documents": (part.only("vectors.npy"),), **shared},
            settings={"partition": number},
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
    for table, asked in zip(work.job.inputs["scored"], work.job.inputs["queries"], strict=True):
        labels = read_table(work.storage, table.file("scored.parquet"), ["query_row", "doc_partition", "doc_row", "is_positive"])
        labels = labels.filter(pc.and_(labels["is_positive"], pc.equal(labels["doc_partition"], partition)))
        document = labels["doc_row"].to_numpy()
        query = centred(read_array(work.storage, asked.file("vectors.npy"))[labels["query_row"].to_numpy()], means[1]).astype(np.float64)
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
