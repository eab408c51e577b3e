"""Training rows as arrays: what the trainer of a retriever is given. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Names = NDArray[np.object_]
Pairs = tuple[Names, Names]


def no_pairs() -> Pairs:
    """No (query, document) pairs."""
    return np.empty(0, dtype=object), np.empty(0, dtype=object)


@dataclass(frozen=True)
class Samples:
    """Rows of one positive and its negatives, and what is known of other pairs.

    Args:
        queries: shape (r,), place of each row's text in ``query_texts``.
        documents: shape (r, c), places in ``document_texts``, the positive first; -1: the row has no more negatives.
        query_texts: without prompt.
        document_texts: the title template applied, without prompt.
        query_names: identity of each query text, of the length of ``query_texts``; equal texts have equal names.
        document_names: the same of the documents.
        lessons: int64, shape (l, 2), for each pass in order: first row and end. A pass covers the rows between them once.
        positives: pairs of names that are known to be relevant, besides the rows' own.
        suspected: pairs of names that are probably relevant.
        values: float32, shape (r, c), NaN where unknown, by name: teacher, weight, label, lexical.
        scores: all known teacher scores: pairs of names, and float32 of the same length; ``None``: there are none.
        batches: the rows of each step, where they are settled; none: rows of a pass are shuffled and cut.
    """

    queries: Ints
    documents: Ints
    query_texts: Sequence[str]
    document_texts: Sequence[str]
    query_names: Names
    document_names: Names
    lessons: Ints
    positives: Pairs = field(default_factory=no_pairs)
    suspected: Pairs = field(default_factory=no_pairs)
    values: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    scores: tuple[Pairs, NDArray[np.float32]] | None = None
    batches: Sequence[Ints] | None = None

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def row_documents(self) -> Names:
        """Names of the rows' documents, shape (r, c), None where there is none."""
        named = np.empty(len(self.document_names) + 1, dtype=object)
        named[:-1] = self.document_names
        found: Names = named[self.documents]
        return found


@dataclass(frozen=True)
class Frozen:
    """A document index that stays as it is while only queries learn.

    Args:
        vectors: float32 or float16, shape (n, dimension).
        names: identity of each document, shape (n,).
    """

    vectors: NDArray[np.floating]
    names: Names


def shuffled(lessons: Ints, batch_size: int, seed: int) -> list[Ints]:
    """Rows of each step: the rows of a pass in random order, cut into batches; a last batch of one row joins the one before.

    >>> [batch.tolist() for batch in shuffled(np.array([[0, 3], [3, 5]]), 2, 0)]
    [[2, 0, 1], [4, 3]]
    """
    generator = np.random.Generator(np.random.PCG64([seed, 1]))
    batches: list[Ints] = []
    for first, end in lessons.tolist():
        order = first + generator.permutation(end - first)
        cuts = list(range(batch_size, len(order), batch_size))
        if cuts and len(order) - cuts[-1] == 1:
            cuts.pop()
        batches += [batch for batch in np.split(order, cuts) if len(batch)]
    return batches
