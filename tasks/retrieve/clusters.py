"""Stage ``dense-clusters``: the clusters of an ivf index, trained once for all document partitions, and how many of them are searched.

That follows from the exact nearest documents of a sample of the queries over the whole corpus: a neighbour is found if its cluster is among
those that are searched, so the recall of any number of them is known without a search. What codes lose besides, each partition finds out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.folds import Fold
from tasks.retrieve.chunk import asked_rows
from tasks.retrieve.chunk import keyed as chunk_key
from tasks.retrieve.settings import DenseSettings
from tasks.runner.cores import worker_cores
from tasks.runner.stage import Job, Stage, Work
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.tables import let_go, read_array

STAGE = Stage(name="dense-clusters", version=1, function="tasks.retrieve.clusters:run", unit="documents")

_POINTS_PER_CLUSTER = 39  # under which k-means is ill fed
_SAMPLED, _LEAST = 64, 4096  # documents: a cluster; at all
_FLOATS = 1 << 27  # of the sample

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


def jobs(
    settings: DenseSettings,
    embed_documents: Sequence[Part],
    embed_queries: Sequence[Part],
    queries: Sequence[Part] = (),
    chunk: Fold | None = None,
) -> list[Job]:
    """One job over all partitions; none where the index has no clusters.

    Args:
        settings: with ``index`` settled (:func:`tasks.retrieve.dense.settled`).
        embed_documents: parts with ``vectors.npy``.
        embed_queries: parts with ``vectors.npy``.
        queries: parts with ``queries.parquet``, in the order of ``embed_queries``; read for a chunk only.
        chunk: the queries that are searched for; none: all.
    """
    rows = [part.file("vectors.npy").rows or 0 for part in embed_documents]
    if settings.index != "ivf" or not sum(rows):
        return []
    nlist = auto_nlist(max(rows)) if settings.nlist == "auto" else min(settings.nlist, sum(rows))
    inputs = {
        role: tuple(part.only("vectors.npy") for part in parts)
        for role, parts in (("documents", embed_documents), ("queries", embed_queries))
    }
    if chunk is not None:
        inputs["asked"] = tuple(part.only("queries.parquet") for part in queries)
    keyed = {**settings.model_dump(mode="json", exclude={"auto_ivf_rows", "index"}), "nlist": nlist, **chunk_key(chunk)}
    return [Job(index="all", inputs=inputs, settings=keyed, units=sum(rows))]


def run(work: Work, out: Output) -> None:
    """Write ``index.faiss``, ``sample.npy`` and ``borders.npy``.

    The index is trained, empty, and set to the clusters to search. The sample are some queries, float32 (s, dim); the borders, float32
    (s,), are the exact scores that end each one's best ``top_k``. Meta: nlist, nprobe, recall expected of it without codes, sampled (s).
    """
    from tasks.retrieve import faiss_search

    settings = DenseSettings.model_validate(
        {"index": "ivf", **{name: value for name, value in work.job.settings.items() if name != "chunk"}}
    )
    nlist = int(settings.nlist)
    documents = [read_array(work.storage, part.file("vectors.npy")) for part in work.job.inputs["documents"]]
    asked = list(query_vectors(work)[0].values())
    check_dimensions(documents, asked)
    queries = take_rows(asked, evenly_spaced(sum(map(len, asked)), settings.recall_sample))
    with faiss_search.single_threads(worker_cores()) as pool:
        index = faiss_search.train_ivf(sample(documents, max(nlist * _SAMPLED, _LEAST), nlist), nlist, settings.codes, pool)
        scores, rows = faiss_search.exact(documents, queries, settings.top_k, pool, work.report)
        index.nprobe, recall = _probed(settings, _distance_in_clusters(index, queries, documents, rows, pool))
    out.data("index.faiss", faiss_search.as_bytes(index))
    out.array("sample.npy", queries)
    out.array("borders.npy", scores[:, -1])
    out.meta.update(nlist=nlist, nprobe=int(index.nprobe), recall=round(recall, 6), sampled=len(queries))


def auto_nlist(rows: int) -> int:
    """Clusters for partitions of so many rows: the power of two nearest 4 * sqrt(rows), with enough rows in each to train on.

    Each partition compares a query with all clusters and with the rows of a few, so the number follows the partitions' size and not the
    corpus'.

    >>> auto_nlist(1_000_000), auto_nlist(1000), auto_nlist(10)
    (4096, 25, 1)
    """
    wanted = int(2 ** round(math.log2(4 * math.sqrt(max(rows, 1)))))
    return max(1, min(wanted, rows // _POINTS_PER_CLUSTER))


def query_vectors(work: Work) -> tuple[dict[str, NDArray[Any]], dict[str, Ints | None]]:
    """Vectors of the queries that are searched for, by query partition; and their rows there (``None``: all), where there is a chunk."""
    parts = {part.index: read_array(work.storage, part.file("vectors.npy")) for part in work.job.inputs["queries"]}
    asked = {part.index: asked_rows(work, part) for part in work.job.inputs.get("asked", ())}
    return parts | {name: parts[name][rows] for name, rows in asked.items() if rows is not None}, asked


def check_dimensions(documents: Sequence[NDArray[Any]], queries: Sequence[NDArray[Any]]) -> None:
    """Refuse to compare vectors of different lengths.

    Raises:
        ModelError: which.
    """
    widths = [{array.shape[1] for array in arrays if len(array)} for arrays in (queries, documents)]
    if widths[0] and widths[1] and widths[0] != widths[1]:
        asked, there = (", ".join(map(str, sorted(width))) for width in widths)
        raise ModelError(f"queries have {asked} dimensions, documents {there}", "embed both with one model and truncate_dim")


def sample(arrays: Sequence[NDArray[Any]], wanted: int, least: int) -> Floats:
    """Evenly spaced rows over all arrays, read one array at a time.

    Args:
        arrays: (n, dim) each; some rows in all.
        wanted: so many at most, and no more than fit in half a gigabyte.
        least: so many in any case, if there are.
    """
    dim = max(array.shape[1] for array in arrays)
    return take_rows(arrays, evenly_spaced(sum(map(len, arrays)), max(least, min(wanted, _FLOATS // max(1, dim)))))


def evenly_spaced(rows: int, wanted: int) -> Ints:
    """At most ``wanted`` distinct rows out of ``rows``, ascending.

    >>> evenly_spaced(10, 4).tolist(), evenly_spaced(0, 4).tolist()
    ([0, 3, 6, 9], [])
    """
    return np.unique(np.linspace(0, rows - 1, min(rows, wanted)).astype(np.int64)) if rows else np.empty(0, dtype=np.int64)


def take_rows(arrays: Sequence[NDArray[Any]], rows: Ints) -> Floats:
    """Rows that are counted over all arrays, in the order asked for, as float32."""
    ends = np.cumsum([len(array) for array in arrays])
    found = np.empty((len(rows), max((array.shape[1] for array in arrays), default=0)), dtype=np.float32)
    owner = np.searchsorted(ends, rows, side="right")
    for number in np.unique(owner).tolist():
        mine = np.flatnonzero(owner == number)
        distinct, back = np.unique(rows[mine] - (ends[number] - len(arrays[number])), return_inverse=True)
        found[mine] = arrays[number][distinct][back]
        let_go(arrays[number])
    return found


def _distance_in_clusters(index: Any, queries: Floats, documents: Sequence[NDArray[Any]], rows: Ints, pool: ThreadPoolExecutor) -> Ints:
    """(s, k): how many clusters are nearer to each query than that of its neighbour."""
    from tasks.retrieve import faiss_search

    _, own = faiss_search.search(index.quantizer, take_rows(documents, rows.ravel()), 1, pool)
    _, order = faiss_search.search(index.quantizer, queries, int(index.nlist), pool)
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(order.shape[1])[None, :], axis=1)
    return np.take_along_axis(place, own.reshape(rows.shape), axis=1)


def _probed(settings: DenseSettings, distance: Ints) -> tuple[int, float]:
    """The number of clusters to search, and the recall with it: the setting's, doubled until the floor holds."""
    nprobe = min(settings.nprobe, int(settings.nlist))
    while distance.size and nprobe < int(settings.nlist) and float((distance < nprobe).mean()) < settings.recall_floor:
        nprobe = min(2 * nprobe, int(settings.nlist))
    return nprobe, float((distance < nprobe).mean()) if distance.size else 1.0
