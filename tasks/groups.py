"""Each candidate against its query's positives, on flat arrays: which are equal, how near, which scores they have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_BLOCK_PAIRS = 65_536


@dataclass(frozen=True)
class Groups:
    """Rows of candidates by query.

    Args:
        query: (n,) query row of each candidate, any numbering from 0.
        positive: (n,) whether the candidate is a labelled positive of its query.
    """

    query: Ints
    positive: Bools

    @property
    def size(self) -> int:
        """Queries, or the highest query row + 1."""
        return int(self.query.max(initial=-1)) + 1


def equals_positive(groups: Groups, code: Ints) -> Bools:
    """Whether a candidate's code is that of a positive of its query, other than itself.

    Args:
        groups: n candidates.
        code: (n,) equal for candidates whose content is equal.
    """
    key = groups.query * (int(code.max(initial=0)) + 1) + code
    distinct, inverse = np.unique(key, return_inverse=True)
    held = np.bincount(inverse[groups.positive], minlength=len(distinct))
    others: Bools = held[inverse] > groups.positive
    return others


def among_positives(groups: Groups, code: Ints) -> Bools:
    """Whether a candidate's code is that of a positive of its query, itself included; arguments as for :func:`equals_positive`."""
    alike: Bools = equals_positive(groups, code) | groups.positive
    return alike


def statistics(groups: Groups, scores: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """``min``, ``mean`` and ``max`` of a score over each query's positives, given to each of its candidates.

    Args:
        groups: n candidates.
        scores: (n,) float32; NaN where there is none.

    Returns:
        Three arrays (n,); NaN where no positive of the query has the score. Means are float64 sums in row order.
    """
    there = groups.positive & ~np.isnan(scores)
    query, values = groups.query[there], scores[there]
    least, most = np.full(groups.size, np.inf, dtype=np.float32), np.full(groups.size, -np.inf, dtype=np.float32)
    np.minimum.at(least, query, values)
    np.maximum.at(most, query, values)
    count = np.bincount(query, minlength=groups.size)
    total = np.bincount(query, weights=values.astype(np.float64), minlength=groups.size)
    with np.errstate(invalid="ignore"):
        mean = (total / count).astype(np.float32)
    least[count == 0] = most[count == 0] = np.nan
    return {"min": least[groups.query], "mean": mean[groups.query], "max": most[groups.query]}


def pairs_with_positives(groups: Groups, rows: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Each of ``rows`` with each positive of its query, in blocks.

    Args:
        groups: n candidates.
        rows: some of them.

    Yields:
        (candidate rows, positive rows), equally long. A candidate may be split over two blocks.
    """
    positives = np.flatnonzero(groups.positive)
    positives = positives[np.argsort(groups.query[positives], kind="stable")]
    first = np.searchsorted(groups.query[positives], groups.query[rows], side="left")
    last = np.searchsorted(groups.query[positives], groups.query[rows], side="right")
    ends = np.cumsum(last - first)
    total = int(ends[-1]) if len(ends) else 0
    for start in range(0, total, _BLOCK_PAIRS):
        number = np.arange(start, min(start + _BLOCK_PAIRS, total), dtype=np.int64)
        which = np.searchsorted(ends, number, side="right")
        yield rows[which], positives[last[which] - (ends[which] - number)]


def floats(column: pa.ChunkedArray | pa.Array) -> NDArray[np.float32]:
    """float32 with NaN for NULL."""
    chunked = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    values: NDArray[np.float32] = chunked.to_numpy().astype(np.float32)
    return values


def positive_columns(groups: Groups, name: str, column: pa.ChunkedArray | pa.Array) -> dict[str, pa.Array]:
    """``positive_<name>_min``, ``_mean`` and ``_max``: :func:`statistics` of a score column; NULL where there is none."""
    found = statistics(groups, floats(column))
    return {f"positive_{name}_{statistic}": pa.array(values, mask=np.isnan(values)) for statistic, values in found.items()}


def codes(*columns: NDArray[Any]) -> list[Ints]:
    """Arrays of strings as numbers that are equal where the strings are."""
    import pandas as pd

    numbers, _ = pd.factorize(np.concatenate(columns))
    return [np.asarray(piece, dtype=np.int64) for piece in np.split(numbers, np.cumsum([len(column) for column in columns])[:-1])]
