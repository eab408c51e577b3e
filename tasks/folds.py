"""Folds of query groups: who is held out from which teacher. By hash of the group, so the same in every round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray


@dataclass(frozen=True)
class Fold:
    """One of several parts of the queries.

    Args:
        number: which, from 0.
        count: of how many; 2 or more.
    """

    number: int
    count: int


def group_draws(groups: Sequence[str], seed: int) -> NDArray[np.uint64]:
    """A number for each group, evenly spread over 64 bits; equal groups have equal ones."""
    return np.array([xxhash.xxh3_64_intdigest(f"{seed}:{group}".encode("utf-8", "surrogatepass")) for group in groups], dtype=np.uint64)


def in_fold(draws: NDArray[np.uint64], fold: Fold) -> NDArray[np.bool_]:
    """Whether each group is in a fold.

    >>> draws = np.array([0, 2**63, 2**64 - 1], dtype=np.uint64)
    >>> [in_fold(draws, Fold(number, 2)).tolist() for number in (0, 1)]
    [[True, False, False], [False, True, True]]
    """
    width = -(-(2**64) // fold.count)
    inside: NDArray[np.bool_] = draws // np.uint64(width) == fold.number
    return inside


def in_chunk(query_ids: Sequence[str], chunk: Fold) -> NDArray[np.bool_]:
    """Whether each query is in a chunk: chunks are disjoint, cover all queries, and are the same in every round.

    >>> sum(in_chunk(["a", "b", "c"], Fold(number, 4)).astype(int) for number in range(4)).tolist()
    [1, 1, 1]
    """
    return in_fold(group_draws([f"chunk:{query_id}" for query_id in query_ids], 0), chunk)  # apart from folds and splits


def query_groups(query_ids: Sequence[str], known: Sequence[str], groups: Sequence[str | None]) -> list[str]:
    """The group of each query; one without a group is a group of its own.

    Args:
        query_ids: wanted.
        known: all queries.
        groups: of ``known``.
    """
    named = dict(zip(known, groups, strict=True))
    return [str(named.get(query_id) or query_id) for query_id in query_ids]
