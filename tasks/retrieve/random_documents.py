"""Random documents as a source: drawn by a hash of seed and query id, without a generator's state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def draw(query_ids: Sequence[str], documents: int, count: int, seed: int) -> NDArray[np.int64]:
    """Distinct documents for each query, every set of them equally likely (Floyd's algorithm).

    A query's draw depends on the seed, its id and the number of documents, not on the other queries.

    Args:
        query_ids: (q,).
        documents: documents are numbered 0 … documents-1, over all partitions in order.
        count: how many for each query; at most all documents are drawn.
        seed: the run's.

    Returns:
        (q, min(count, documents)) int64, in drawing order.
    """
    prefix = f"random:{seed}:".encode()
    state = np.array([xxhash.xxh3_64_intdigest(prefix + name.encode("utf-8", "surrogatepass")) for name in query_ids], dtype=np.uint64)
    wanted = min(count, documents)
    drawn = np.empty((len(state), wanted), dtype=np.int64)
    for number in range(wanted):
        limit = documents - wanted + number + 1
        pick = (_uniform(state, number) * limit).astype(np.int64)
        repeated = (drawn[:, :number] == pick[:, None]).any(axis=1)
        drawn[:, number] = np.where(repeated, limit - 1, pick)
    return drawn


def _uniform(state: NDArray[np.uint64], number: int) -> NDArray[np.float64]:
    """Uniform in [0, 1): the ``number``-th of each state's SplitMix64 sequence."""
    with np.errstate(over="ignore"):
        mixed = state + _GOLDEN * np.uint64(number + 1)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
        mixed = mixed ^ (mixed >> np.uint64(31))
    uniform: NDArray[np.float64] = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
    return uniform
