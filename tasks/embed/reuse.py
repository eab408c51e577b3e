"""Equal inputs once, and old vectors for texts that did not change: pure array work."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.bytes_]


@dataclass(frozen=True)
class Plan:
    """Where each row's vector comes from.

    Args:
        first: int64, shape (u,): a row for each different input, in row order.
        inverse: int64, shape (n,): for each row its place in ``first``.
        old: int64, shape (u,): row of the earlier vectors, −1 where there is none.
    """

    first: NDArray[np.int64]
    inverse: NDArray[np.int64]
    old: NDArray[np.int64]

    @property
    def todo(self) -> NDArray[np.int64]:
        """Places in ``first`` that must be encoded."""
        return np.flatnonzero(self.old < 0)


def plan_reuse(hashes: Hashes, earlier: Hashes) -> Plan:
    """Match inputs by hash.

    Args:
        hashes: shape (n,): input hash of each row.
        earlier: shape (m,): input hash of each row of the earlier vectors.
    """
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    first = first[order].astype(np.int64)
    old = np.full(len(first), -1, dtype=np.int64)
    if len(earlier) and len(first):
        wanted = hashes[first]
        by_hash = np.argsort(earlier, kind="stable")
        at = np.minimum(np.searchsorted(earlier, wanted, sorter=by_hash), len(earlier) - 1)
        found = earlier[by_hash[at]] == wanted
        old[found] = by_hash[at][found]
    return Plan(first, place[inverse.reshape(-1)], old)
