"""Equal inputs once, and old vectors for texts that did not change: pure array work."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Hashes = NDArray[np.bytes_]
Ints = NDArray[np.int64]
Vectors = NDArray[Any]


@dataclass(frozen=True)
class Plan:
    """Where each row's vector comes from.

    Args:
        first: int64, shape (u,): a row for each different input, in row order.
        inverse: int64, shape (n,): for each row its place in ``first``.
        old: int64, shape (u,): row of the earlier vectors, −1 where there is none.
    """

    first: Ints
    inverse: Ints
    old: Ints

    @property
    def todo(self) -> Ints:
        """Places in ``first`` that the earlier vectors do not have."""
        return np.flatnonzero(self.old < 0)

    def put(self, rows: Vectors, places: Ints, vectors: Vectors) -> None:
        """Write vectors to all rows of their inputs.

        Args:
            rows: shape (n, dim), written to.
            places: int64, shape (k,): which of ``first``.
            vectors: shape (k, dim).
        """
        order, starts = self._rows
        counts = np.diff(starts)[places]
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        rows[order[np.repeat(starts[places], counts) + within]] = np.repeat(vectors, counts, axis=0)

    @cached_property
    def _rows(self) -> tuple[Ints, Ints]:
        """Rows by place in ``first``, and where each place's rows start, shape (u + 1,)."""
        order = np.argsort(self.inverse, kind="stable")
        return order, np.searchsorted(self.inverse[order], np.arange(len(self.first) + 1))


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
    return Plan(first, place[inverse.reshape(-1)], match(hashes[first], earlier))


def match(wanted: Hashes, earlier: Hashes) -> Ints:
    """Row of ``earlier`` that holds each wanted hash, −1 where none does.

    >>> match(np.array([b"b", b"c"]), np.array([b"a", b"b"])).tolist()
    [1, -1]
    """
    row = np.full(len(wanted), -1, dtype=np.int64)
    if len(earlier) and len(wanted):
        by_hash = np.argsort(earlier, kind="stable")
        at = np.minimum(np.searchsorted(earlier, wanted, sorter=by_hash), len(earlier) - 1)
        found = earlier[by_hash[at]] == wanted
        row[found] = by_hash[at][found]
    return row


def as_bytes(column: pa.ChunkedArray) -> Hashes:
    """A column of hex hashes as fixed-width bytes, shape (n,)."""
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype="S32")
