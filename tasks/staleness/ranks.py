"""Exact ranks among all documents, by blocks of a matrix product in double precision.

A product's last bits depend on how BLAS cuts it. Sums of products of 32-bit floats in double precision are right to about 1e-16 of
the vectors' lengths, and similarities within 1e-9 of each other count as equal: so ranks do not depend on blocks, threads or partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TIE = 1e-9
_QUERIES, _DOCUMENTS = 256, 8192


def count_above(
    queries: Floats, query: Ints, similarity: Floats, documents: Iterable[NDArray[Any]], report: Callable[[int], None]
) -> tuple[Ints, Ints]:
    """Count the documents over and beside some similarities.

    Args:
        queries: (q, dimension) their vectors.
        query: (n,) query of each similarity.
        similarity: (n,) what to compare with; no NaN.
        documents: all documents' vectors, in pieces (m, dimension) of any float type.
        report: told of documents as they are compared.

    Returns:
        (above, level): (n,) documents with a larger similarity; (n,) documents within :data:`TIE` of it (1 for the document's own).
    """
    count = np.bincount(query, minlength=len(queries))
    most_first = np.argsort(-count, kind="stable")
    place = np.empty(len(queries), dtype=np.int64)
    place[most_first] = np.arange(len(queries))
    order = np.lexsort((np.arange(len(query)), place[query]))
    column = np.empty(len(query), dtype=np.int64)
    column[order] = np.arange(len(query)) - np.searchsorted(place[query][order], place[query][order])
    wanted = np.zeros((len(queries), int(count.max()) if len(count) else 0))
    wanted[place[query], column] = similarity
    slack = TIE * np.maximum(1.0, np.abs(wanted))
    above, least = np.zeros(wanted.shape, dtype=np.int64), np.zeros(wanted.shape, dtype=np.int64)
    asked, sizes = queries[most_first], count[most_first]
    for vectors in documents:
        for start in range(0, len(vectors), _DOCUMENTS):
            piece = np.asarray(vectors[start : start + _DOCUMENTS], dtype=np.float64)
            _count_piece(asked, sizes, piece, (wanted + slack, wanted - slack), (above, least))
            report(len(piece))
    cell = (place[query], column)
    return above[cell], least[cell] - above[cell]


def _count_piece(asked: Floats, sizes: Ints, piece: Floats, bounds: tuple[Floats, Floats], counts: tuple[Ints, Ints]) -> None:
    """Add what a piece of the documents has. Queries with most similarities come first, so each column is compared for a prefix."""
    for start in range(0, len(asked), _QUERIES):
        here = slice(start, min(start + _QUERIES, len(asked)))
        if not sizes[start]:
            return
        found = asked[here] @ piece.T
        for column in range(int(sizes[start])):
            rows = int((sizes[here] > column).sum())
            at = slice(start, start + rows)
            counts[0][at, column] += np.count_nonzero(found[:rows] > bounds[0][at, column, None], axis=1)
            counts[1][at, column] += np.count_nonzero(found[:rows] >= bounds[1][at, column, None], axis=1)


def percentiles(above: Ints, level: Ints, documents: int) -> tuple[Floats, Floats]:
    """Ranks and percentiles.

    Args:
        above: (n,) documents with a larger similarity.
        level: (n,) documents with the same one, the document itself among them.
        documents: how many there are.

    Returns:
        (ranks, percentiles): (n,) from 1, ties share their mean rank; (n,) 100 · (rank − 1) / (documents − 1): 0 is the nearest
        document of all, 100 the farthest.

    >>> [each.tolist() for each in percentiles(np.array([0, 1]), np.array([1, 2]), 5)]
    [[1.0, 2.5], [0.0, 37.5]]
    """
    ranks: Floats = above + (level + 1) / 2
    return ranks, 100.0 * (ranks - 1) / max(documents - 1, 1)
