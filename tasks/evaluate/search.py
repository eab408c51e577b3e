"""Exact search: blocks of documents against all queries, the best kept. Pure array work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_BLOCK_FLOATS = 1 << 24
_SPARE = 16  # candidates beyond the depth: a product of matrices may round the last bits in another way than a single one


@dataclass(frozen=True)
class Block:
    """Some documents.

    Args:
        vectors: shape (n, dimension), any float type.
        first: number of the first one.
        excluded: (query rows, document rows of this block), pairs that are not ranked.
    """

    vectors: NDArray[np.floating]
    first: int
    excluded: tuple[Ints, Ints]


def search(queries: Floats, blocks: Iterable[Block], depth: int, report: Callable[[int], None]) -> tuple[Ints, Floats]:
    """The nearest documents of each query by dot product.

    Args:
        queries: shape (q, dimension).
        blocks: all documents, in order of their numbers.
        depth: how many.
        report: told of documents as they are searched.

    Returns:
        (numbers, scores), shape (q, at most depth + a few), -1 and -inf where there are fewer; best first, but for the last bits.
    """
    kept = depth + _SPARE
    numbers = np.empty((len(queries), 0), dtype=np.int64)
    scores = np.empty((len(queries), 0), dtype=np.float32)
    for block in blocks:
        step = max(1, _BLOCK_FLOATS // max(1, len(queries)))
        for start in range(0, len(block.vectors), step):
            vectors = np.asarray(block.vectors[start : start + step], dtype=np.float32)
            found = queries @ vectors.T
            asked, documents = block.excluded
            here = (documents >= start) & (documents < start + len(vectors))
            found[asked[here], documents[here] - start] = -np.inf
            places = np.broadcast_to(np.arange(len(vectors)) + block.first + start, found.shape)
            numbers, scores = _best(np.concatenate([numbers, places], axis=1), np.concatenate([scores, found], axis=1), kept)
            report(len(vectors))
    return np.where(np.isneginf(scores), -1, numbers), scores


def _best(numbers: Ints, scores: Floats, kept: int) -> tuple[Ints, Floats]:
    if scores.shape[1] > kept:
        place = np.argpartition(-scores, kept - 1, axis=1)[:, :kept]
        numbers, scores = np.take_along_axis(numbers, place, axis=1), np.take_along_axis(scores, place, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(numbers, order, axis=1), np.take_along_axis(scores, order, axis=1)


def same_keys(queries: NDArray[np.object_], documents: NDArray[np.object_]) -> tuple[Ints, Ints]:
    """Pairs of rows with equal keys; an empty key equals nothing.

    >>> [rows.tolist() for rows in same_keys(np.array(["a", "b", "a"], object), np.array(["c", "a", None], object))]
    [[0, 2], [1, 1]]
    """
    wanted: dict[str, list[int]] = {}
    for row, key in enumerate(queries.tolist()):
        if key:
            wanted.setdefault(key, []).append(row)
    pairs = [(row, place) for place, key in enumerate(documents.tolist()) if key in wanted for row in wanted[key]]
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]
