"""Nearest vectors by FAISS: the one module that imports it.

Every FAISS call runs on one thread of a pool, on blocks of a fixed size, so that the results' bytes do not depend on
the number of threads: BLAS may round differently when it splits a product itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from tasks.store.tables import let_go

QUERY_BLOCK = 256
ROW_BLOCK = 16_384
REFINE = 2
_GATHERED_FLOATS = 1 << 24
_ROUNDING = 1e-6

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@contextmanager
def single_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """``count`` threads on each of which FAISS itself uses one."""
    faiss.cvar.distance_compute_blas_threshold = 1  # by BLAS whatever the number of queries: the other kernel is ten times slower
    with ThreadPoolExecutor(count, initializer=faiss.omp_set_num_threads, initargs=(1,)) as pool:
        yield pool


def build_flat(vectors: NDArray[Any]) -> Any:
    """An exact inner-product index over vectors (n, dim), float16 or float32."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    for start in range(0, len(vectors), ROW_BLOCK):
        index.add(as_floats(vectors[start : start + ROW_BLOCK]))
    return index


def train_ivf(sample: NDArray[Any], nlist: int, codes: str, pool: ThreadPoolExecutor) -> Any:
    """An empty inverted-file index.

    Args:
        sample: (n, dim), float16 or float32; n ≥ nlist.
        nlist: clusters.
        codes: ``float32``, or ``sq8`` for one byte a dimension.
        pool: from :func:`single_threads`.
    """
    dim = sample.shape[1]
    quantizer = faiss.IndexFlatIP(dim)
    index: Any
    if codes == "sq8":
        index = faiss.IndexIVFScalarQuantizer(quantizer, dim, nlist, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    else:
        index = faiss.IndexIVFFlat(quantizer, dim, nlist, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    pool.submit(index.train, as_floats(sample)).result()
    return index


def as_bytes(index: Any) -> bytes:
    """An index as a file's content."""
    written: bytes = faiss.serialize_index(index).tobytes()
    return written


def fill_ivf(trained: Path, vectors: NDArray[Any], pool: ThreadPoolExecutor) -> Any:
    """An index with rows 0, 1, … in its clusters.

    Args:
        trained: a file of :func:`as_bytes`, of an empty index.
        vectors: (n, dim), float16 or float32.
        pool: from :func:`single_threads`.
    """
    index: Any = faiss.read_index(str(trained))
    starts = range(0, len(vectors), ROW_BLOCK)

    def nearest(start: int) -> Rows:
        clusters: Rows = index.quantizer.search(as_floats(vectors[start : start + ROW_BLOCK]), 1)[1]
        return np.ascontiguousarray(clusters[:, 0])

    for start, clusters in zip(starts, pool.map(nearest, starts), strict=True):
        block = as_floats(vectors[start : start + ROW_BLOCK])
        pool.submit(index.add_core, len(block), faiss.swig_ptr(block), None, faiss.swig_ptr(clusters)).result()
    return index


def search(
    index: Any, queries: NDArray[Any], top_k: int, pool: ThreadPoolExecutor, report: Callable[[int], None] | None = None
) -> tuple[Floats, Rows]:
    """The ``top_k`` best rows of an index for each query.

    Args:
        index: from :func:`build_flat` or :func:`fill_ivf`.
        queries: (q, dim), float16 or float32.
        top_k: at most the index's rows.
        pool: from :func:`single_threads`.
        report: told how many queries are done, block by block.

    Returns:
        Scores float32 (q, top_k) and rows int64 (q, top_k); row -1 where an ivf index found fewer.
    """
    starts = range(0, len(queries), QUERY_BLOCK)
    scores = np.empty((len(queries), top_k), dtype=np.float32)
    rows = np.empty((len(queries), top_k), dtype=np.int64)

    def block(start: int) -> tuple[Floats, Rows]:
        found: tuple[Floats, Rows] = index.search(as_floats(queries[start : start + QUERY_BLOCK]), top_k)
        return found

    for start, (block_scores, block_rows) in zip(starts, pool.map(block, starts), strict=True):
        scores[start : start + QUERY_BLOCK], rows[start : start + QUERY_BLOCK] = block_scores, block_rows
        if report is not None:
            report(len(block_rows))
    return scores, rows


def search_refined(
    index: Any,
    vectors: NDArray[Any],
    queries: NDArray[Any],
    top_k: int,
    pool: ThreadPoolExecutor,
    report: Callable[[int], None] | None = None,
) -> tuple[Floats, Rows]:
    """:func:`search` to ``REFINE`` times the depth, re-scored by the vectors themselves, cut to ``top_k``."""
    _, rows = search(index, queries, min(REFINE * top_k, len(vectors)), pool, report)
    scores = np.empty(rows.shape, dtype=np.float32)
    step = max(1, _GATHERED_FLOATS // max(1, rows.shape[1] * vectors.shape[1]))
    for start in range(0, len(rows), step):
        block = slice(start, start + step)
        scores[block] = np.einsum("qkd,qd->qk", as_floats(vectors[np.maximum(rows[block], 0)]), as_floats(queries[block]))
    scores[rows < 0] = -np.inf
    order = np.lexsort((rows, -scores), axis=1)[:, :top_k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


def exact(
    arrays: Sequence[NDArray[Any]], queries: Floats, top_k: int, pool: ThreadPoolExecutor, report: Callable[[int], None] | None = None
) -> tuple[Floats, Rows]:
    """The best rows of several arrays together, by comparing with all of them; one block of rows a thread is in memory.

    Args:
        arrays: (n, dim) each.
        queries: (q, dim).
        top_k: at most so many.
        pool: from :func:`single_threads`.
        report: told how many rows are done.

    Returns:
        Scores float32 and rows int64, counted over all arrays, both (q, min(top_k, all rows)); of equal scores the first row comes first.
    """
    scores, rows = np.empty((len(queries), 0), dtype=np.float32), np.empty((len(queries), 0), dtype=np.int64)
    before = 0
    for array in arrays:
        starts = range(0, len(array), ROW_BLOCK)

        def block(start: int, array: NDArray[Any] = array) -> tuple[Floats, Rows]:
            piece = build_flat(array[start : start + ROW_BLOCK])
            found: tuple[Floats, Rows] = piece.search(queries, min(top_k, piece.ntotal))
            return found

        for start, (piece_scores, piece_rows) in zip(starts, pool.map(block, starts), strict=True):
            scores = np.concatenate([scores, piece_scores], axis=1)
            rows = np.concatenate([rows, piece_rows + (before + start)], axis=1)
            order = np.lexsort((rows, -scores), axis=1)[:, :top_k]
            scores, rows = np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
        let_go(array)
        before += len(array)
        if report is not None:
            report(len(array))
    return scores, rows


def reaching(scores: Floats, borders: Floats) -> int:
    """How many scores (q, k) reach their query's border (q,), or fall short of it by rounding only."""
    return int((scores >= (borders - _ROUNDING * np.maximum(1.0, np.abs(borders)))[:, None]).sum())


def as_floats(block: NDArray[Any] | Sequence[Any]) -> Floats:
    """A block as contiguous float32."""
    return np.ascontiguousarray(block, dtype=np.float32)
