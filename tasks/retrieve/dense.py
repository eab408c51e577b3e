"""Stage ``retrieve-dense``: the nearest documents of one document partition, for every query."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.folds import Fold
from tasks.retrieve.chunk import asked_rows, expected
from tasks.retrieve.chunk import keyed as chunk_key
from tasks.retrieve.ranking import retrieved_table
from tasks.retrieve.settings import DenseSettings
from tasks.runner.cores import worker_cores
from tasks.runner.stage import Job, Stage, Work
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.tables import read_array

STAGE = Stage(name="retrieve-dense", version=1, function="tasks.retrieve.dense:run", unit="searches")

_POINTS_PER_CLUSTER = 39


def jobs(
    settings: DenseSettings,
    embed_documents: Sequence[Part],
    embed_queries: Sequence[Part],
    queries: Sequence[Part] = (),
    chunk: Fold | None = None,
) -> list[Job]:
    """One job a document partition; a unit is one query searched in one partition.

    Only settings that matter for the chosen index are in the key; ``index: auto`` is settled here by the corpus' size.

    Args:
        settings: of the index and its depth.
        embed_documents: parts with ``vectors.npy``.
        embed_queries: parts with ``vectors.npy``.
        queries: parts with ``queries.parquet``, in the order of ``embed_queries``; read for a chunk only.
        chunk: the queries that are searched for; none: all.
    """
    kind = settings.index
    if kind == "auto":
        kind = "ivf" if sum(part.file("vectors.npy").rows or 0 for part in embed_documents) >= settings.auto_ivf_rows else "flat"
    keyed: dict[str, Any] = {"top_k": settings.top_k} if kind == "flat" else settings.model_dump(mode="json", exclude={"auto_ivf_rows"})
    keyed["index"] = kind
    inputs = {"queries": tuple(part.only("vectors.npy") for part in embed_queries)}
    if chunk is not None:
        inputs["asked"] = tuple(part.only("queries.parquet") for part in queries)
    units = expected(sum(part.file("vectors.npy").rows or 0 for part in inputs["queries"]), chunk)
    return [
        Job(
            index=part.index,
            inputs={"documents": (part.only("vectors.npy"),), **inputs},
            settings={**keyed, **chunk_key(chunk)},
            units=units,
        )
        for part in embed_documents
    ]


def run(work: Work, out: Output) -> None:
    """Write ``qNNNN.parquet`` (:data:`tasks.schema.RETRIEVED`) for each query partition; meta: index, rows, recall."""
    from tasks.retrieve import faiss_search

    settings = DenseSettings.model_validate({name: value for name, value in work.job.settings.items() if name != "chunk"})
    vectors = read_array(work.storage, work.job.inputs["documents"][0].file("vectors.npy"))
    parts = {part.index: read_array(work.storage, part.file("vectors.npy")) for part in work.job.inputs["queries"]}
    _check_dimensions(vectors, parts)
    asked = {part.index: asked_rows(work, part) for part in work.job.inputs.get("asked", ())}
    parts |= {name: parts[name][rows] for name, rows in asked.items() if rows is not None}
    top_k = min(settings.top_k, len(vectors))
    out.meta.update({"index": settings.index, "rows": len(vectors)})
    with faiss_search.single_threads(worker_cores()) as pool:
        index = None
        if settings.index == "ivf" and top_k:
            index = _ivf(settings, vectors, list(parts.values()), top_k, pool, out)
        elif top_k:
            index = faiss_search.build_flat(vectors)
        for name, queries in parts.items():
            if top_k == 0:
                scores, rows = np.empty((len(queries), 0), dtype=np.float32), np.empty((len(queries), 0), dtype=np.int64)
            elif settings.index == "ivf":
                scores, rows = faiss_search.search_refined(index, vectors, queries, top_k, pool, work.report)
            else:
                scores, rows = faiss_search.search(index, queries, top_k, pool, work.report)
            out.table(f"{name}.parquet", retrieved_table(scores, rows, asked.get(name)))


def auto_nlist(rows: int) -> int:
    """Clusters for a partition: the power of two nearest 4 * sqrt(rows), with enough rows in each to train on.

    >>> auto_nlist(1_000_000), auto_nlist(1000), auto_nlist(10)
    (4096, 25, 1)
    """
    wanted = int(2 ** round(math.log2(4 * math.sqrt(max(rows, 1)))))
    return max(1, min(wanted, rows // _POINTS_PER_CLUSTER))


def _ivf(
    settings: DenseSettings, vectors: NDArray[Any], queries: Sequence[NDArray[Any]], top_k: int, pool: ThreadPoolExecutor, out: Output
) -> Any:
    """An ivf index whose recall on a sample of the queries reaches the floor.

    Raises:
        ModelError: it does not, though all clusters are searched.
    """
    from tasks.retrieve import faiss_search

    nlist = auto_nlist(len(vectors)) if settings.nlist == "auto" else min(settings.nlist, len(vectors))
    index = faiss_search.build_ivf(vectors, nlist, settings.codes, pool)
    sample = _sample(queries, settings.recall_sample)
    nprobe, recall = min(settings.nprobe, nlist), 1.0
    while len(sample):
        index.nprobe = nprobe
        found, _ = faiss_search.search_refined(index, vectors, sample, top_k, pool)
        recall = faiss_search.recall(found, sample, vectors, pool)
        if recall >= settings.recall_floor:
            break
        if nprobe == nlist:
            raise ModelError(
                f"dense index: recall@{top_k} is {recall:.3f} with all {nlist} clusters searched, recall_floor is {settings.recall_floor}",
                "set retrieve.dense.codes: float32 or index: flat, or lower recall_floor",
            )
        nprobe = min(2 * nprobe, nlist)
    index.nprobe = nprobe
    out.meta.update({"nlist": nlist, "nprobe": nprobe, "recall": round(recall, 6), "sampled": len(sample)})
    return index


def _sample(queries: Sequence[NDArray[Any]], wanted: int) -> NDArray[np.float32]:
    """Evenly spaced query vectors over all query partitions."""
    from tasks.retrieve import faiss_search

    sizes = np.array([len(part) for part in queries], dtype=np.int64)
    chosen = faiss_search.evenly_spaced(int(sizes.sum()), wanted)
    ends = np.cumsum(sizes)
    pieces = [
        faiss_search.as_floats(part[chosen[(chosen >= end - size) & (chosen < end)] - (end - size)])
        for part, size, end in zip(queries, sizes, ends, strict=True)
    ]
    return np.concatenate(pieces) if pieces else np.empty((0, 0), dtype=np.float32)


def _check_dimensions(vectors: NDArray[Any], parts: dict[str, NDArray[Any]]) -> None:
    for name, queries in parts.items():
        if len(queries) and len(vectors) and queries.shape[1] != vectors.shape[1]:
            raise ModelError(
                f"queries {name} have {queries.shape[1]} dimensions, documents {vectors.shape[1]}",
                "embed both with one model and truncate_dim",
            )
