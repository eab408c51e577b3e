"""Ranks and cuts on flat arrays: rows of many queries at once, never a loop over queries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.schema import RETRIEVED

Ints = NDArray[np.int64]


def retrieved_table(scores: NDArray[np.float32], rows: Ints, asked: Ints | None = None) -> pa.Table:
    """One source's result for one query partition, as :data:`tasks.schema.RETRIEVED`.

    Args:
        scores: (q, k) float32.
        rows: (q, k) int64; -1 where there is no document.
        asked: (q,) row of each query in its partition; none: 0, 1, 2 ….

    Returns:
        Sorted by query_row, score descending, doc_row.
    """
    query = np.repeat(np.arange(len(rows), dtype=np.int64) if asked is None else asked, rows.shape[1])
    flat_rows, flat_scores = rows.ravel(), scores.ravel()
    there = flat_rows >= 0
    return retrieved(query[there], flat_rows[there], flat_scores[there])


def retrieved(query_row: Ints, doc_row: Ints, score: NDArray[np.float32]) -> pa.Table:
    """Flat arrays, sorted by query_row, score descending, doc_row."""
    order = np.lexsort((doc_row, -score, query_row))
    return pa.table([query_row[order], doc_row[order], score[order]], schema=RETRIEVED)


def ranks(query_row: Ints, score: NDArray[np.floating[Any]], tie: Ints) -> NDArray[np.int32]:
    """Rank from 1 of each row within its query: score descending, then ``tie`` ascending.

    >>> ranks(np.array([0, 0, 1]), np.array([0.5, 0.9, 0.1]), np.array([0, 1, 0])).tolist()
    [2, 1, 1]
    """
    order = np.lexsort((tie, -score, query_row))
    placed = np.empty(len(order), dtype=np.int32)
    placed[order] = _places(query_row[order]) + 1
    return placed


def keep_best(query_row: Ints, score: NDArray[np.floating[Any]], top_k: int) -> NDArray[np.bool_]:
    """Rows whose score is at least the query's ``top_k``-th best: all ties at the border are kept."""
    order = np.lexsort((-score, query_row))
    ordered_query, ordered_score = query_row[order], score[order]
    place = _places(ordered_query)
    last = np.full(int(ordered_query[-1]) + 1 if len(order) else 0, -np.inf, dtype=np.float64)
    border = place == top_k - 1
    last[ordered_query[border]] = ordered_score[border]
    keep: NDArray[np.bool_] = score >= last[query_row]
    return keep


def _places(groups: Ints) -> Ints:
    """Place from 0 of each row within its run of equal groups."""
    count = np.arange(len(groups), dtype=np.int64)
    starts = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]])) if len(groups) else count
    lengths = np.diff(np.append(starts, len(groups)))
    return count - np.repeat(starts, lengths)
