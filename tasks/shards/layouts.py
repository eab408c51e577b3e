"""How training rows are laid out in each format, as arrays of line numbers; no text is touched here.

A line is one document of one anchor row (slot 0: the positive, then its negatives). All layouts keep the anchor rows'
order. Source of the five shapes: ``sentence_transformers.util.mine_hard_negatives`` for the first four.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Anchors:
    """Anchor rows (query, positive) with their negatives.

    Args:
        query: shape (a,), number of the query of each anchor row.
        first: shape (a,), ascending: the line of its positive.
        count: shape (a,), its negatives: on lines ``first + 1 … first + count``.
        document: shape (lines,), number of the document on each line; equal documents have equal numbers.
    """

    query: Ints
    first: Ints
    count: Ints
    document: Ints


@dataclass(frozen=True)
class Layout:
    """Output rows.

    Args:
        anchor: shape (r,), the anchor row that gives the query.
        offsets: shape (r + 1,), where each row's lines start.
        lines: flat; of each row, positives first.
        positives: shape (r,), how many of a row's lines are positives.
        dropped: anchor rows that this format cannot take.
    """

    anchor: Ints
    offsets: Ints
    lines: Ints
    positives: Ints
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.anchor)

    def slice(self, start: int, stop: int) -> Layout:
        """Rows ``start … stop - 1``."""
        offsets = self.offsets[start : stop + 1]
        return Layout(self.anchor[start:stop], offsets - offsets[0], self.lines[offsets[0] : offsets[-1]], self.positives[start:stop])

    @property
    def negatives(self) -> Ints:
        """Shape (r,), how many of a row's lines are negatives."""
        counts: Ints = np.diff(self.offsets) - self.positives
        return counts

    def is_positive(self) -> NDArray[np.bool_]:
        """For each of ``lines``: whether it is a positive of its row."""
        place = np.arange(len(self.lines)) - np.repeat(self.offsets[:-1], np.diff(self.offsets))
        marks: NDArray[np.bool_] = place < np.repeat(self.positives, np.diff(self.offsets))
        return marks


def ranges(starts: Ints, counts: Ints) -> Ints:
    """``starts[i], starts[i] + 1, …`` (``counts[i]`` of them) for each i, joined.

    >>> ranges(np.array([5, 20]), np.array([2, 3])).tolist()
    [5, 6, 20, 21, 22]
    """
    ends = np.cumsum(counts)
    joined: Ints = np.repeat(starts - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0)
    return joined


def offsets_of(counts: Ints) -> Ints:
    """Where each of several joined lists starts, and the end: shape (n + 1,)."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def triplets(anchors: Anchors) -> Layout:
    """A row for each positive and each of its negatives."""
    anchor = np.repeat(np.arange(len(anchors.first)), anchors.count)
    negatives = ranges(anchors.first + 1, anchors.count)
    lines = np.stack([anchors.first[anchor], negatives], axis=1).ravel()
    return Layout(anchor, np.arange(len(anchor) + 1) * 2, lines, np.ones(len(anchor), np.int64), int((anchors.count == 0).sum()))


def tuples(anchors: Anchors, num_negatives: int) -> Layout:
    """A row for each positive that has ``num_negatives`` negatives; others are dropped."""
    anchor = np.flatnonzero(anchors.count >= num_negatives)
    size = num_negatives + 1
    lines = (anchors.first[anchor][:, None] + np.arange(size)).ravel()
    return Layout(anchor, np.arange(len(anchor) + 1) * size, lines, np.ones(len(anchor), np.int64), len(anchors.first) - len(anchor))


def lists(anchors: Anchors) -> Layout:
    """A row for each positive that has negatives: the positive, then all of them."""
    anchor = np.flatnonzero(anchors.count > 0)
    counts = anchors.count[anchor] + 1
    return Layout(
        anchor, offsets_of(counts), ranges(anchors.first[anchor], counts), np.ones(len(anchor), np.int64), len(anchors.first) - len(anchor)
    )


def pairs(anchors: Anchors) -> Layout:
    """A row for each document of a query: its positives, then its negatives, each document once a query.

    Queries come in the order of their first anchor row. Queries without negatives keep their positives.
    """
    anchor_of = np.repeat(np.arange(len(anchors.first)), anchors.count + 1)
    order_of_query = _first_anchor(anchors)[anchor_of]
    negative = np.ones(len(anchor_of), np.int64)
    negative[offsets_of(anchors.count + 1)[:-1]] = 0
    lines = ranges(anchors.first, anchors.count + 1)
    order = np.lexsort((lines, anchors.document[lines], negative, order_of_query))
    same = np.zeros(len(order), np.bool_)
    keys = np.stack([order_of_query, negative, anchors.document[lines]])[:, order]
    same[1:] = (keys[:, 1:] == keys[:, :-1]).all(axis=0)
    kept = np.sort(order[~same])
    kept = kept[np.lexsort((lines[kept], negative[kept], order_of_query[kept]))]
    return Layout(anchor_of[kept], np.arange(len(kept) + 1), lines[kept], 1 - negative[kept])


def queries(anchors: Anchors, bare: bool = True) -> Layout:
    """A row for each query: all of its positives, then all of its negatives, each document once, whatever positive it was drawn for.

    Args:
        anchors: the anchor rows.
        bare: whether queries without negatives have a row too; else their anchor rows are dropped.
    """
    each = pairs(anchors)
    query, number, counts = np.unique(_first_anchor(anchors)[each.anchor], return_inverse=True, return_counts=True)
    positives = np.bincount(number, each.positives, len(query)).astype(np.int64)
    kept = np.ones(len(query), np.bool_) if bare else counts > positives
    dropped = int((~np.isin(_first_anchor(anchors), query[kept])).sum())
    return Layout(query[kept], offsets_of(counts[kept]), each.lines[kept[number]], positives[kept], dropped)


def merged(anchors: Anchors) -> Layout:
    """A row for each query: all of its positives, then its negatives; queries without negatives are dropped.

    Anchor rows of a query with other negatives than its first one (recipes that judge for each positive apart) stay
    rows of their own: a negative of one positive is never shown as that of another.
    """
    if not len(anchors.first):
        return Layout(anchors.first, np.zeros(1, np.int64), anchors.first, anchors.first)
    leader = _first_anchor(anchors)
    group = np.where(_same_negatives(anchors, leader), leader, np.arange(len(leader)))
    own = np.flatnonzero(group == np.arange(len(group)))
    entry_group = np.concatenate([group, np.repeat(own, anchors.count[own])])
    entry_line = np.concatenate([anchors.first, ranges(anchors.first[own] + 1, anchors.count[own])])
    entry_negative = np.arange(len(entry_group)) >= len(group)
    kept = anchors.count[entry_group] > 0
    entry_group, entry_line, entry_negative = entry_group[kept], entry_line[kept], entry_negative[kept]
    order = np.lexsort((entry_line, entry_negative, entry_group))
    anchor, counts = np.unique(entry_group, return_counts=True)
    positives = np.bincount(entry_group[~entry_negative], minlength=len(group))[anchor]
    return Layout(anchor, offsets_of(counts), entry_line[order], positives, int((anchors.count[group] == 0).sum()))


def _first_anchor(anchors: Anchors) -> Ints:
    """The first anchor row of each anchor row's query."""
    _, first, inverse = np.unique(anchors.query, return_index=True, return_inverse=True)
    leaders: Ints = first[inverse]
    return leaders


def _same_negatives(anchors: Anchors, leader: Ints) -> NDArray[np.bool_]:
    """Whether an anchor row has the very negatives, in order, of its leader."""
    same: NDArray[np.bool_] = anchors.count == anchors.count[leader]
    counts = np.where(same, anchors.count, 0)
    mine = anchors.document[ranges(anchors.first + 1, counts)]
    theirs = anchors.document[ranges(anchors.first[leader] + 1, counts)]
    differs = np.bincount(np.repeat(np.arange(len(counts)), counts)[mine != theirs], minlength=len(counts)) > 0
    return same & ~differs
