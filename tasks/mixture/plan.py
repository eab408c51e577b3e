"""Which dataset gives which batch: pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def shares(rows: Sequence[int], weights: Sequence[float], temperature: float) -> NDArray[np.float64]:
    """(d,) each dataset's share of the batches: its weight times its rows to the power of 1/temperature, over the sum.

    As mT5 (Xue et al. 2021) and multilingual retrievers sample languages and tasks.

    >>> shares([100, 900], [1, 1], 1.0).tolist(), shares([100, 900], [1, 1], 2.0).tolist(), shares([100, 900], [9, 1], 1.0).tolist()
    ([0.1, 0.9], [0.25, 0.75], [0.5, 0.5])
    """
    sized = np.asarray(weights, dtype=np.float64) * np.asarray(rows, dtype=np.float64) ** (1.0 / temperature)
    found: NDArray[np.float64] = sized / sized.sum()
    return found


def batches_of(total: int, share: NDArray[np.float64]) -> Ints:
    """A number of batches by shares, by largest remainder; on a tie the earlier dataset has more.

    >>> batches_of(10, np.array([0.25, 0.25, 0.5])).tolist()
    [3, 2, 5]
    """
    exact = share * total
    counts = np.floor(exact + 1e-9).astype(np.int64)
    order = np.lexsort((np.arange(len(share)), -np.round(exact - counts, 9)))
    counts[order[: total - int(counts.sum())]] += 1
    return counts


def windows(batches: int, least: int) -> list[int]:
    """Batches that are arranged together: at least so many at a time, where there are as many. So the last ones have others to part with.

    >>> windows(1025, 1024), windows(2050, 1024), windows(3, 1024), windows(0, 1024)
    ([1025], [1025, 1025], [3], [])
    """
    count = max(1, batches // least) if batches else 0
    return [batches * (number + 1) // count - batches * number // count for number in range(count)]


def order(counts: Ints, names: Sequence[str], seed: int) -> Ints:
    """The dataset of each batch, in order: batch j of n of a dataset lies at (j + u) / n of the way, u by hash.

    So every stretch of the set has about the shares of the whole.
    """
    places, owner = [np.empty(0)], [np.empty(0, dtype=np.int64)]
    for number, (count, name) in enumerate(zip(counts.tolist(), names, strict=True)):
        jitter = np.array([xxhash.xxh3_64_intdigest(f"mixture:{seed}:{name}:{batch}".encode()) for batch in range(count)], dtype=np.float64)
        places.append((np.arange(count) + jitter / 2.0**64) / max(count, 1))
        owner.append(np.full(count, number, dtype=np.int64))
    where, whose = np.concatenate(places), np.concatenate(owner)
    arranged: Ints = whose[np.lexsort((whose, where))]
    return arranged
