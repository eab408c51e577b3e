"""Batches whose shape depends on nothing but the token length, so that a result depends on its own input alone.

Matrix kernels are chosen by the shape of a batch and round differently: a vector's last bits would depend on how many
others happened to be in its batch. So an input is padded to a length that follows from its own length alone (the next
multiple of ``STEP``), and for each length a batch has always the same number of rows: one that is not full is filled up with copies of
its first row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """Some inputs of one token length.

    Args:
        length: tokens of each, with padding.
        rows: rows that the model is given, at least ``len(indices)``.
        indices: int64, shape (n,): which inputs.
    """

    length: int
    rows: int
    indices: NDArray[np.int64]


STEP = 16


def padded(lengths: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Token lengths with padding: the next multiple of ``STEP``, at most ``limit`` (which no input exceeds).

    >>> padded(np.array([1, 16, 17, 250]), 250).tolist()
    [16, 16, 32, 250]
    """
    result: NDArray[np.int64] = np.minimum(-(-lengths // STEP) * STEP, limit)
    return result


def rows_of(length: int, budget: int) -> int:
    """Rows of a batch of that token length: the largest power of two within the budget, at least 1.

    >>> rows_of(100, 256), rows_of(64, 256), rows_of(300, 256)
    (2, 4, 1)
    """
    return 1 << max(0, (budget // max(1, length)).bit_length() - 1)


def plan(lengths: NDArray[np.int64], budget: int, limit: int) -> list[Batch]:
    """Batches over all inputs, longest first, in input order within a padded length.

    Args:
        lengths: int64, shape (n,): token length of each input.
        budget: tokens a batch.
        limit: the model's greatest length.
    """
    if len(lengths) == 0:
        return []
    lengths = padded(lengths, limit)
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    borders = np.flatnonzero(np.diff(ordered)) + 1
    batches = []
    for group in np.split(order, borders):
        length = int(lengths[group[0]])
        rows = rows_of(length, budget)
        batches += [Batch(length, rows, group[start : start + rows]) for start in range(0, len(group), rows)]
    return batches


def packed_plan(lengths: NDArray[np.int64], budget: int) -> list[NDArray[np.int64]]:
    """Inputs by batch without padding: longest first, in input order within a length, as many as the budget holds, at least one.

    Args:
        lengths: int64, shape (n,): token length of each input.
        budget: tokens a batch.

    >>> [batch.tolist() for batch in packed_plan(np.array([3, 9, 5, 5, 1]), 10)]
    [[1], [2, 3], [0, 4]]
    """
    order = np.argsort(-lengths, kind="stable")
    ends = np.cumsum(lengths[order])
    batches, start, before = [], 0, 0
    while start < len(order):
        stop = max(start + 1, int(np.searchsorted(ends, before + budget, side="right")))
        batches.append(order[start:stop])
        start, before = stop, int(ends[stop - 1])
    return batches


def fill_up(lengths: NDArray[np.int64], total: int, limit: int) -> NDArray[np.int64]:
    """Lengths with those of fillers behind, of at most ``limit`` tokens each, so that their sum is ``total``.

    >>> fill_up(np.array([3, 2]), 16, 4).tolist(), fill_up(np.array([8]), 8, 4).tolist()
    ([3, 2, 4, 4, 3], [8])
    """
    rest = total - int(lengths.sum())
    fillers = np.full(-(-rest // limit), limit, dtype=np.int64)
    if rest % limit:
        fillers[-1] = rest % limit
    return np.concatenate([lengths, fillers])
