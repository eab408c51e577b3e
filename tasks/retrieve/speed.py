"""How fast this machine searches: a second of FAISS on random vectors."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from tasks.retrieve import faiss_search
from tasks.runner.cores import worker_cores

_ROWS, _QUERIES, _TOP = 32_768, 2_048, 100
_CLUSTERS, _PROBED = 256, 32


def search_speed(dim: int, codes: str) -> tuple[float, float]:
    """Floating-point operations a second of exact search, and of scanning the clusters of an ivf index; a product counts as two.

    Args:
        dim: dimensions of the vectors.
        codes: of an ivf index: float32 or sq8.
    """
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((_ROWS, dim), dtype=np.float32)
    queries = generator.standard_normal((_QUERIES, dim), dtype=np.float32)
    with faiss_search.single_threads(worker_cores()) as pool:
        flat = faiss_search.build_flat(vectors)
        faiss_search.search(flat, queries[:256], _TOP, pool)
        exact = _timed(lambda: faiss_search.search(flat, queries, _TOP, pool))
        ivf = faiss_search.train_ivf(vectors, _CLUSTERS, codes, pool)
        ivf.add(vectors)
        ivf.nprobe = _PROBED
        scanned = _timed(lambda: faiss_search.search(ivf, queries, _TOP, pool))
    share = _PROBED / _CLUSTERS
    return 2 * _ROWS * _QUERIES * dim / exact, 2 * _ROWS * _QUERIES * dim * share / scanned


def _timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
