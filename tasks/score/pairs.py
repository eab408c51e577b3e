"""Which pairs the teacher scores, and how they are cut into blocks: pure array work."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.folds import Fold, group_draws, in_fold, query_groups
from tasks.store.tables import whole_numbers


def marked(asked: pa.Table, count: int) -> NDArray[np.bool_]:
    """Which of so many candidates are among those that were asked for, by their ``row``."""
    wanted: NDArray[np.bool_] = np.zeros(count, dtype=bool)
    wanted[whole_numbers(asked["row"])] = True
    return wanted


def of_fold(table: pa.Table, queries: pa.Table, fold: Fold, seed: int) -> NDArray[np.bool_]:
    """The candidates whose query's group is in a fold.

    Args:
        table: candidates with ``query_row``.
        queries: all queries of the partition: query_id, group.
        fold: which.
        seed: of the folds.
    """
    ids = queries["query_id"].to_pylist()
    inside = in_fold(group_draws(query_groups(ids, ids, queries["group"].to_pylist()), seed), fold)
    found: NDArray[np.bool_] = inside[whole_numbers(table["query_row"])]
    return found


def blocks(query_ids: pa.ChunkedArray, wanted: NDArray[np.bool_], size: int) -> list[tuple[int, int, int]]:
    """Cut a candidates table into runs of whole queries.

    Args:
        query_ids: sorted, shape (rows,).
        wanted: bool, shape (rows,): the rows that count.
        size: pairs that a block should have; a block ends with the query that reaches it.

    Returns:
        (first row, row after the last, pairs) of each block; together they cover all rows, one block at least.
    """
    rows = len(wanted)
    if rows == 0:
        return [(0, 0, 0)]
    codes = whole_numbers(query_ids.combine_chunks().dictionary_encode().indices)
    ends = np.append(np.flatnonzero(np.diff(codes)) + 1, rows)
    counted = np.cumsum(wanted)[ends - 1]
    found, start, done = [], 0, 0
    while start < rows:
        at = min(int(np.searchsorted(counted, done + size)), len(ends) - 1)
        end, total = int(ends[at]), int(counted[at])
        found.append((start, end, total - done))
        start, done = end, total
    return found


def unique_pairs(query_hash: pa.ChunkedArray, doc_hash: pa.ChunkedArray) -> tuple[pa.Table, NDArray[np.int64]]:
    """Different pairs, sorted.

    Returns:
        A table (query_hash, doc_hash) and, for each of its rows, the first row of the input that has the pair.
    """
    table = pa.table({"query_hash": query_hash, "doc_hash": doc_hash, "row": np.arange(len(query_hash), dtype=np.int64)})
    grouped = table.group_by(["query_hash", "doc_hash"], use_threads=False).aggregate([("row", "min")])
    ordered = grouped.sort_by([("query_hash", "ascending"), ("doc_hash", "ascending")])
    return ordered.select(["query_hash", "doc_hash"]), ordered["row_min"].to_numpy()
