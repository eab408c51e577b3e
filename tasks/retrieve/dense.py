"""Stage ``retrieve-dense``: the nearest documents of one document partition, for every query."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.errors import ModelError, UsageError
from tasks.folds import Fold
from tasks.models.hardware import resolve_device
from tasks.retrieve.chunk import expected
from tasks.retrieve.chunk import keyed as chunk_key
from tasks.retrieve.clusters import check_dimensions, query_vectors
from tasks.retrieve.languages import Languages, allowed, groups
from tasks.retrieve.languages import keyed as language_key
from tasks.retrieve.ranking import retrieved, retrieved_table
from tasks.retrieve.settings import DenseSettings
from tasks.runner.cores import worker_cores
from tasks.runner.stage import Job, Stage, Work
from tasks.schema import RETRIEVED
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.tables import local_file, read_array

STAGE = Stage(name="retrieve-dense", version=1, function="tasks.retrieve.dense:run", unit="searches")
ON_DEVICE = dataclasses.replace(STAGE, model=True)

Search = Callable[[NDArray[Any]], tuple[NDArray[np.float32], NDArray[np.int64]]]


def settled(settings: DenseSettings, embed_documents: Sequence[Part]) -> DenseSettings:
    """The settings with ``index: auto`` settled by the corpus' size, and ``device: auto`` by what there is; only flat is for a GPU."""
    rows = sum(part.file("vectors.npy").rows or 0 for part in embed_documents)
    device = "cpu" if settings.index == "ivf" else resolve_device(settings.device)
    index = settings.index
    if index == "auto":
        index = "ivf" if rows >= settings.auto_ivf_rows and device == "cpu" else "flat"
    return settings.model_copy(update={"index": index, "device": device})


def jobs(
    settings: DenseSettings,
    embed_documents: Sequence[Part],
    embed_queries: Sequence[Part],
    queries: Sequence[Part] = (),
    chunk: Fold | None = None,
    clusters: Sequence[Part] = (),
    languages: Languages = "any",
    documents: Sequence[Part] = (),
) -> list[Job]:
    """One job a document partition; a unit is one query searched in one partition.

    Only settings that matter for the chosen index are in the key.

    Args:
        settings: of the index and its depth, :func:`settled`.
        embed_documents: parts with ``vectors.npy``.
        embed_queries: parts with ``vectors.npy``.
        queries: parts with ``queries.parquet``, in the order of ``embed_queries``; read for a chunk only.
        chunk: the queries that are searched for; none: all.
        clusters: the part of :mod:`tasks.retrieve.clusters`, for an ivf index.
        languages: that each query is searched in.
        documents: parts with docs.parquet, in the order of ``embed_documents``; read for their languages only.

    Raises:
        UsageError: an ivf index cannot be searched by language.
    """
    if languages != "any" and settings.index == "ivf":
        raise UsageError("retrieve.languages: an ivf index is searched as a whole", "set retrieve.dense.index: flat")
    keyed: dict[str, Any] = {"top_k": settings.top_k, "index": "flat", **({"device": "cuda"} if settings.device == "cuda" else {})}
    inputs = {"queries": tuple(part.only("vectors.npy") for part in embed_queries)}
    if settings.index == "ivf":
        keyed = settings.model_dump(mode="json", exclude={"auto_ivf_rows", "device"})
        inputs["clusters"] = tuple(clusters)
    if languages != "any":
        inputs["query_texts"] = tuple(part.only("queries.parquet") for part in queries)
    own = [{"document_texts": (part.only("docs.parquet"),)} if languages != "any" else {} for part in documents or embed_documents]
    if chunk is not None:
        inputs["asked"] = tuple(part.only("queries.parquet") for part in queries)
    units = expected(sum(part.file("vectors.npy").rows or 0 for part in inputs["queries"]), chunk)
    return [
        Job(
            index=part.index,
            inputs={"documents": (part.only("vectors.npy"),), **inputs, **texts},
            settings={**keyed, **chunk_key(chunk), **language_key(languages)},
            units=units,
        )
        for part, texts in zip(embed_documents, own, strict=True)
    ]


def run(work: Work, out: Output) -> None:
    """Write ``qNNNN.parquet`` (:data:`tasks.schema.RETRIEVED`) for each query partition.

    Meta: index, rows. Of an ivf index: nlist, nprobe, sampled queries, wanted (how many of their exact best ``top_k`` of the whole corpus
    lie here), and recall, the share of these that is found.
    """
    from tasks.retrieve import faiss_search

    settings = DenseSettings.model_validate(
        {name: value for name, value in work.job.settings.items() if name not in ("chunk", "languages")}
    )
    vectors = read_array(work.storage, work.job.inputs["documents"][0].file("vectors.npy"))
    parts, asked = query_vectors(work)
    check_dimensions([vectors], list(parts.values()))
    top_k = min(settings.top_k, len(vectors))
    out.meta.update({"index": settings.index, "rows": len(vectors)})
    with faiss_search.single_threads(worker_cores()) as pool:
        if "languages" in work.job.settings:
            _run_by_language(work, settings, vectors, parts, asked, pool, out)
            return
        search = _search(work, settings, vectors, top_k, pool, out)
        for name, queries in parts.items():
            out.table(f"{name}.parquet", retrieved_table(*search(queries), asked.get(name)))


def _run_by_language(
    work: Work,
    settings: DenseSettings,
    vectors: NDArray[Any],
    parts: dict[str, NDArray[Any]],
    asked: dict[str, NDArray[np.int64] | None],
    pool: ThreadPoolExecutor,
    out: Output,
) -> None:
    """Each language's documents apart, for the queries that they may be candidates of."""
    wanted = work.job.settings["languages"]
    names = {part.index: work.part_table(part, "queries.parquet", ["language"])["language"] for part in work.job.inputs["query_texts"]}
    found: dict[str, list[pa.Table]] = {name: [RETRIEVED.empty_table()] for name in parts}
    for language, rows in groups(work.table("document_texts", "docs.parquet", ["language"])["language"].to_pylist()).items():
        search = _search(work, settings, vectors[rows], min(settings.top_k, len(rows)), pool, out)
        for name, queries in parts.items():
            own = asked.get(name)
            numbers = np.arange(len(queries), dtype=np.int64) if own is None else own
            spoken = names[name].take(pa.array(numbers)).to_pylist()
            mine = np.flatnonzero([allowed(wanted, one, language) for one in spoken])
            if len(mine):
                scores, places = search(queries[mine])
                found[name].append(retrieved_table(scores, np.where(places < 0, -1, rows[places]), numbers[mine]))
    for name, tables in found.items():
        table = pa.concat_tables(tables).combine_chunks()
        out.table(f"{name}.parquet", retrieved(*(table[column].to_numpy() for column in RETRIEVED.names)))


def _search(work: Work, settings: DenseSettings, vectors: NDArray[Any], top_k: int, pool: ThreadPoolExecutor, out: Output) -> Search:
    """What finds the best ``top_k`` of a partition's vectors, by any of the ways there are."""
    from tasks.retrieve import faiss_search

    if top_k == 0:
        return lambda queries: (np.empty((len(queries), 0), dtype=np.float32), np.empty((len(queries), 0), dtype=np.int64))
    if settings.index == "ivf":
        trained = _ivf(work, settings, vectors, top_k, pool, out)
        return lambda queries: faiss_search.search_refined(trained, vectors, queries, top_k, pool, work.report)
    if settings.device == "cuda":
        from tasks.models.search import nearest

        return lambda queries: nearest(vectors, queries, top_k, settings.device, work.report)
    index = faiss_search.build_flat(vectors)
    return lambda queries: faiss_search.search(index, queries, top_k, pool, work.report)


def recall_of(parts: Sequence[Part]) -> float:
    """Share of the exact best documents of all queries that a search found, as its partitions measured it; 1: the search is exact."""
    wanted = [int(part.meta.get("wanted", part.meta.get("rows", 1))) for part in parts]
    found = [float(part.meta.get("recall", 1.0)) * count for part, count in zip(parts, wanted, strict=True)]
    return sum(found) / sum(wanted) if sum(wanted) else 1.0


def _ivf(work: Work, settings: DenseSettings, vectors: NDArray[Any], top_k: int, pool: ThreadPoolExecutor, out: Output) -> Any:
    """The partition's vectors in the trained clusters; as many of these are searched as the recall floor needs here.

    Raises:
        ModelError: all are searched, and it does not hold.
    """
    from tasks.retrieve import faiss_search

    (trained,) = work.job.inputs["clusters"]
    sample, borders = (read_array(work.storage, trained.file(name)) for name in ("sample.npy", "borders.npy"))
    index = faiss_search.fill_ivf(local_file(work.storage, trained.file("index.faiss")), vectors, pool)
    nlist, recall = int(index.nlist), 1.0
    wanted = faiss_search.reaching(faiss_search.exact([vectors], sample, top_k, pool)[0], borders)
    while wanted:
        found, _ = faiss_search.search_refined(index, vectors, sample, top_k, pool)
        recall = min(1.0, faiss_search.reaching(found, borders) / wanted)
        if recall >= settings.recall_floor:
            break
        if index.nprobe >= nlist:
            raise ModelError(
                f"dense index: recall@{settings.top_k} is {recall:.3f} with all {nlist} clusters searched, "
                f"recall_floor is {settings.recall_floor}",
                "set retrieve.dense.codes: float32 or index: flat, or lower recall_floor",
            )
        index.nprobe = min(2 * int(index.nprobe), nlist)
    out.meta.update(nlist=nlist, nprobe=int(index.nprobe), recall=round(recall, 6), wanted=wanted, sampled=len(sample))
    return index
