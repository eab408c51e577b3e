"""Stages ``feature-clusters-documents`` and ``feature-clusters-queries``: k-means centroids of the retriever's vectors.

Which vectors are sampled, and their order, is decided by hashes of their ids, so centroids do not depend on partitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from tasks.features.base import only, rows
from tasks.runner.stage import Job, Stage, Work
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.tables import read_array

DOCUMENTS = Stage(name="feature-clusters-documents", version=1, function="tasks.features.centroids:run", unit="documents")
QUERIES = Stage(name="feature-clusters-queries", version=1, function="tasks.features.centroids:run", unit="queries")

Vectors = NDArray[np.float32]
_BLOCK = 4_096


def jobs(vectors: Sequence[Part], texts: Sequence[Part], table: str, clusters: int, sample: int, seed: int) -> list[Job]:
    """One job over all parts.

    Args:
        vectors: parts with ``vectors.npy``.
        texts: the parts that these are the vectors of, in the same order.
        table: ``docs.parquet`` or ``queries.parquet``: where the ids are.
        clusters: how many centroids, at most one a vector.
        sample: fit on so many vectors at most.
        seed: of the sample and of k-means.
    """
    inputs = {"vectors": only(vectors, "vectors.npy"), "texts": only(texts, table)}
    settings = {"table": table, "clusters": clusters, "sample": sample, "seed": seed}
    return [Job(index="all", inputs=inputs, settings=settings, units=rows(vectors, "vectors.npy"))]


def run(work: Work, out: Output) -> None:
    """Write ``centroids.npy``, float32 (clusters, dimensions). Meta: clusters, sampled vectors."""
    settings = work.job.settings
    sampled = _sampled(work, str(settings["table"]), int(settings["sample"]), int(settings["seed"]))
    centroids = fit(sampled, int(settings["clusters"]), int(settings["seed"]))
    out.array("centroids.npy", centroids)
    out.meta.update({"clusters": len(centroids), "sampled": len(sampled)})
    out.count(model_calls=0)


def fit(vectors: Vectors, clusters: int, seed: int) -> Vectors:
    """Centroids by MiniBatchKMeans (Sculley 2010), on one thread.

    Args:
        vectors: (n, dimensions) float32.
        clusters: as many as there are vectors at most.
        seed: of the initialisation (k-means++) and the batches.

    Returns:
        (clusters, dimensions) float32 in lexicographic order; equal centroids once. With no more vectors than clusters, the vectors.
    """
    wanted = min(clusters, len(vectors))
    if wanted == len(vectors):
        return np.unique(vectors, axis=0)
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-not-found, import-untyped, unused-ignore]

    model = MiniBatchKMeans(n_clusters=wanted, random_state=seed, n_init=1, batch_size=max(1_024, 2 * wanted))
    with threadpool_limits(1):
        model.fit(vectors)
    centroids: Vectors = np.unique(np.asarray(model.cluster_centers_, dtype=np.float32), axis=0)
    return centroids


def assign(vectors: NDArray[Any], centroids: Vectors) -> NDArray[np.int32]:
    """The nearest centroid of each vector by Euclidean distance, of equally near ones the first.

    Args:
        vectors: (n, dimensions).
        centroids: (clusters, dimensions), at least one.

    Returns:
        (n,) int32.
    """
    wide = centroids.astype(np.float64).T
    half = (wide * wide).sum(axis=0) / 2
    result = np.empty(len(vectors), dtype=np.int32)
    for start in range(0, len(vectors), _BLOCK):
        some = slice(start, start + _BLOCK)
        result[some] = np.argmax(vectors[some].astype(np.float64) @ wide - half, axis=1)
    return result


def _sampled(work: Work, table: str, count: int, seed: int) -> Vectors:
    """At most so many vectors, in the order of their ids' hashes."""
    hashes = [_hashes(work, part, table, seed) for part in work.job.inputs["texts"]]
    ends = np.cumsum([len(one) for one in hashes])
    chosen = np.argsort(np.concatenate(hashes), kind="stable")[:count] if hashes else np.zeros(0, dtype=np.int64)
    owner = np.searchsorted(ends, chosen, side="right")
    result = np.zeros((len(chosen), 0), dtype=np.float32)
    for number, part in enumerate(work.job.inputs["vectors"]):
        vectors = read_array(work.storage, part.file("vectors.npy"))
        if result.shape[1] != vectors.shape[1]:
            result = np.zeros((len(chosen), vectors.shape[1]), dtype=np.float32)
        places = np.flatnonzero(owner == number)
        result[places] = vectors[chosen[places] - (ends[number] - len(vectors))]
        work.report(len(vectors))
    return result


def _hashes(work: Work, part: Part, table: str, seed: int) -> NDArray[np.uint64]:
    name = "doc_id" if table == "docs.parquet" else "query_id"
    ids = work.part_table(part, table, [name])[name].to_pylist()
    digests = (xxhash.xxh3_64_intdigest(one.encode("utf-8", "surrogatepass"), seed) for one in ids)
    return np.fromiter(digests, dtype=np.uint64, count=len(ids))
