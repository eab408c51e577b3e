"""Estimated likeness of pairs of documents, from their signatures and numbers of shingles.

The standard error of a Jaccard estimate is sqrt(J (1 - J) / 128), at most 0.044.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def jaccard(left: NDArray[np.uint32], right: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Share of equal places, for pairs of signatures.

    Args:
        left: (pairs, permutations) uint32.
        right: the same shape.

    Returns:
        (pairs,) float64 in 0 … 1: |A ∩ B| / |A ∪ B|, estimated.
    """
    share: NDArray[np.float64] = np.count_nonzero(left == right, axis=1) / left.shape[1]
    return share


def containment(jaccards: NDArray[np.float64], left: NDArray[np.integer[Any]], right: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """|A ∩ B| / min(|A|, |B|), from the Jaccard index and the sets' sizes.

    Args:
        jaccards: (pairs,) from :func:`jaccard`.
        left: (pairs,) distinct shingles of the first.
        right: (pairs,) distinct shingles of the second.

    Returns:
        (pairs,) float64 in 0 … 1; 0 where one has no shingles.

    >>> containment(np.array([0.5]), np.array([10]), np.array([20])).tolist()
    [1.0]
    >>> containment(np.array([1.0, 0.0]), np.array([0, 4]), np.array([0, 4])).tolist()
    [0.0, 0.0]
    """
    smaller = np.minimum(left, right).astype(np.float64)
    shared = jaccards / (1.0 + jaccards) * (left.astype(np.float64) + right.astype(np.float64))
    share: NDArray[np.float64] = np.divide(shared, smaller, out=np.zeros_like(shared), where=smaller > 0)
    return np.clip(share, 0.0, 1.0)
