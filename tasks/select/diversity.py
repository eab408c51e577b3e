"""Maximal marginal relevance (Carbonell and Goldstein 1998, SIGIR; certainty: paper): negatives unlike each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from tasks.select.base import Bools, Floats, Ints, counted, integers
from tasks.select.limits import Diversity
from tasks.store.vectors import Addressed

Vectors = Callable[[Ints], Floats]
"""Unit vectors, shape (k, dim), of some rows of the candidates' table, shape (k,)."""

_BLOCK = 1 << 24  # numbers in memory at a time


def vectors_of(table: pa.Table, documents: Addressed | None) -> Vectors | None:
    """Vectors of a table's rows, from those of documents."""
    if documents is None:
        return None
    partition, row = integers(table["doc_partition"]), integers(table["doc_row"])
    return lambda rows: normalised(documents(partition[rows], row[rows]))


def normalised(vectors: Floats) -> Floats:
    """Rows of length 1; a zero row stays zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = (vectors / np.where(length > 0, length, 1)).astype(np.float32)
    return unit


def diverse(group: Ints, row: Ints, quota: Ints, earlier: tuple[Ints, Ints], vectors: Vectors, settings: Diversity) -> Bools:
    """Whom a draw takes: greedily, each next by place and by likeness to those taken.

    Args:
        group: (m,) ascending: the group of each candidate that the draw may take, best first within a group.
        row: (m,) its row in the candidates' table.
        quota: (groups,) how many the draw takes of each group.
        earlier: groups and rows of those that earlier draws of the stage took; groups ascending.
        vectors: of rows.
        settings: trade-off and pool.

    Returns:
        (m,) whether it is taken.
    """
    taken = np.zeros(len(group), np.bool_)
    place = counted(group)
    member = np.flatnonzero(place < np.maximum(settings.pool, quota[group]))
    if not len(member):
        return taken
    for wanted in _blocks(group[member], int(np.bincount(group[member]).max()), vectors(row[:1]).shape[1]):
        inside = member[np.isin(group[member], wanted)]
        pool, there = _matrix(inside, group[inside], wanted)
        near = np.isin(earlier[0], wanted)
        before, held = _matrix(earlier[1][near], earlier[0][near], wanted)
        chosen = _greedy(_fetch(vectors, row[pool], there), there, _fetch(vectors, before, held), held, quota[wanted], settings)
        taken[pool[chosen]] = True
    return taken


def _greedy(pool: Floats, there: Bools, before: Floats, held: Bools, quota: Ints, settings: Diversity) -> Bools:
    """The greedy choice in a block of groups.

    Args:
        pool: (groups, width, dim) vectors in the draw's order.
        there: (groups, width) where there is a candidate.
        before: (groups, taken, dim) vectors of those taken before.
        held: (groups, taken) where there is one.
        quota: (groups,) how many to take.
        settings: trade-off and pool.

    Returns:
        (groups, width) whether it is taken.
    """
    likeness = np.full(there.shape, -np.inf, np.float32)
    for number in range(before.shape[1]):
        similarity = np.einsum("gpd,gd->gp", pool, before[:, number])
        likeness = np.where(held[:, number, None], np.maximum(likeness, similarity), likeness)
    worth = settings.trade_off * (1 - np.arange(there.shape[1]) / settings.pool)
    left, taken = there.copy(), np.zeros_like(there)
    for number in range(int(quota.max(initial=0))):
        penalty = (1 - settings.trade_off) * np.where(np.isneginf(likeness), 0, likeness).astype(np.float64)
        value = np.where(left, worth - penalty, -np.inf)
        best = value.argmax(axis=1)
        active = np.flatnonzero((number < quota) & left.any(axis=1))
        taken[active, best[active]] = True
        left[active, best[active]] = False
        similarity = np.einsum("gpd,gd->gp", pool[active], pool[active, best[active]])
        likeness[active] = np.maximum(likeness[active], similarity)
    return taken


def _blocks(group: Ints, width: int, dim: int) -> Iterator[Ints]:
    """Numbers of groups, as many at a time as fit into memory."""
    present = np.unique(group)
    size = max(1, _BLOCK // max(1, width * dim))
    for start in range(0, len(present), size):
        yield present[start : start + size]


def _matrix(values: Ints, group: Ints, wanted: Ints) -> tuple[Ints, Bools]:
    """Values of ascending groups, a row each: (groups, width) values (0 where there is none), and where there is one."""
    place = counted(group)
    width = int(place.max(initial=-1)) + 1
    matrix, there = np.zeros((len(wanted), width), np.int64), np.zeros((len(wanted), width), np.bool_)
    line = np.searchsorted(wanted, group)
    matrix[line, place], there[line, place] = values, True
    return matrix, there


def _fetch(vectors: Vectors, rows: Ints, there: Bools) -> Floats:
    """(groups, width, dim) vectors; zero where there is no candidate."""
    found = vectors(rows[there])
    block = np.zeros((*there.shape, found.shape[1]), np.float32)
    block[there] = found
    return block
