"""How far two ranked lists of each query agree. Pure array work."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK = 1 << 24


def ranked_lists(query: Ints, rank: Ints, document: Ints, queries: int, depth: int) -> Ints:
    """Lists as a matrix.

    Args:
        query: (n,) query of each entry.
        rank: (n,) its rank; gaps are closed.
        document: (n,) its document, from 0.
        queries: how many queries there are.
        depth: entries kept of each list.

    Returns:
        (queries, depth) documents, best first; −1 beyond a list's end.
    """
    order = np.lexsort((document, rank, query))
    query, document = query[order], document[order]
    place = np.arange(len(query)) - np.searchsorted(query, query)
    lists = np.full((queries, depth), -1, dtype=np.int64)
    kept = place < depth
    lists[query[kept], place[kept]] = document[kept]
    return lists


def common_prefixes(first: Ints, second: Ints) -> tuple[Ints, Ints]:
    """Documents that both lists have among their first d, for each d.

    Args:
        first: (queries, depth) documents, best first, −1 beyond the end; none twice in a list.
        second: the same of the other lists.

    Returns:
        (counts, lengths): (queries, depth) common documents among the first 1 … depth; (queries,) length of the shorter list.
    """
    queries, depth = first.shape
    counts = np.zeros((queries, depth), dtype=np.int64)
    step = max(1, _BLOCK // max(1, depth * depth))
    for start in range(0, queries, step):
        left, right = first[start : start + step], second[start : start + step]
        query, i, j = np.nonzero((left[:, :, None] == right[:, None, :]) & (left >= 0)[:, :, None])
        np.add.at(counts, (query + start, np.maximum(i, j)), 1)
    return np.cumsum(counts, axis=1), np.minimum((first >= 0).sum(axis=1), (second >= 0).sum(axis=1))


def overlaps(counts: Ints, lengths: Ints) -> Floats:
    """Overlap at k: share of common documents among the first k of both, where k is the shorter list's length.

    Args:
        counts: (queries, depth), of :func:`common_prefixes`.
        lengths: (queries,), of the same.

    Returns:
        (queries,) in 0 … 1; NaN where a list is empty.
    """
    last = counts[np.arange(len(lengths)), np.maximum(lengths - 1, 0)] if counts.size else np.zeros(len(lengths))
    found: Floats = np.divide(last, lengths, out=np.full(len(lengths), np.nan), where=lengths > 0)
    return found


def rank_biased_overlaps(counts: Ints, lengths: Ints, p: float) -> Floats:
    """Rank-biased overlap, extrapolated (RBO_EXT of Webber, Moffat and Zobel 2010, ACM TOIS 28(4); certainty: known, not re-read).

    RBO = A_k · p^k + (1 − p) / p · Σ_{d=1…k} A_d · p^d, with A_d the share of common documents among the first d of both, and k the
    shorter list's length: beyond it the agreement is taken to stay as it is at k.

    Args:
        counts: (queries, depth), of :func:`common_prefixes`.
        lengths: (queries,), of the same.
        p: persistence: the chance that a reader goes on to the next rank.

    Returns:
        (queries,) in 0 … 1: 1 for equal lists, 0 for lists without a common document; NaN where one is empty.
    """
    depth = np.arange(1, counts.shape[1] + 1)
    inside = depth[None, :] <= lengths[:, None]
    agreement = np.where(inside, counts / depth, 0.0)
    summed = (1 - p) / p * (agreement * p**depth).sum(axis=1)
    found: Floats = np.clip(summed + overlaps(counts, lengths) * p**lengths, 0.0, 1.0)
    return found
