"""Batches whose shape depends on nothing but the token length, so that a result depends on its own input alone.

Matrix kernels are chosen by the shape of a batch and round differently: a vector's last bits would depend on how many
others happened to be in its batch. So each batch holds one token length (no padding), and for each length always the
same number of rows: a batch that is not full is filled up with copies of its first row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """Some inputs of one token length.

    Args:
        length: tokens of each.
        rows: rows that the model is given, at least ``len(indices)``.
        indices: int64, shape (n,): which inputs.
    """

    length: int
    rows: int
    indices: NDArray[np.int64]


def rows_of(length: int, budget: int) -> int:
    """Rows of a batch of that token length: the largest power of two within the budget, at least 1.

    >>> rows_of(100, 256), rows_of(64, 256), rows_of(300, 256)
    (2, 4, 1)
    """
    return 1 << max(0, (budget // max(1, length)).bit_length() - 1)


def plan(lengths: NDArray[np.int64], budget: int) -> list[Batch]:
    """Batches over all inputs, longest first, in input order within a length.

    Args:
        lengths: int64, shape (n,): token length of each input.
        budget: tokens a batch.
    """
    if len(lengths) == 0:
        return []
    order = np.argsort(-lengths, kind="stable")
    ordered = lengths[order]
    borders = np.flatnonzero(np.diff(ordered)) + 1
    batches = []
    for group in np.split(order, borders):
        length = int(lengths[group[0]])
        rows = rows_of(length, budget)
        batches += [Batch(length, rows, group[start : start + rows]) for start in range(0, len(group), rows)]
    return batches
