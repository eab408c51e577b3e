"""Near copies among many documents: MinHash banding for candidates, verified pairs, connected components. No loop over documents.

Source: banding of MinHash signatures (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3)
[general knowledge]. With bands of 4 of 128 permutations, two documents of Jaccard index 0.8 share a band but for 1 in 10⁷ cases,
two of 0.5 in 87 % of cases.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tasks.components import components
from tasks.features.minhash import mix
from tasks.features.similarity import containment, jaccard

BAND = 4

Ints = NDArray[np.int64]
_PAIRS = 65_536
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def near_copies(signatures: NDArray[np.uint32], sizes: NDArray[np.int32], threshold: float, measure: str) -> Ints:
    """Components of documents that are alike, directly or in a chain.

    A document is compared with two others of each bucket that it falls in, the bucket's first and the one before it, so that the
    work grows with the number of documents however many fall in one bucket. Within a bucket, documents that share the next band
    too lie side by side.

    Args:
        signatures: (n, permutations) uint32.
        sizes: (n,) distinct shingles; a document without any is alone.
        threshold: least estimated likeness of two documents that are alike.
        measure: ``jaccard`` or ``containment``.

    Returns:
        (n,) int64: the least number of each document's component.
    """
    label = np.arange(len(signatures), dtype=np.int64)
    there = np.flatnonzero(sizes > 0)
    bands = signatures.shape[1] // BAND
    following = _keys(signatures, there, 0)
    for band in range(bands):
        keys, following = following, _keys(signatures, there, (band + 1) % bands)
        order = np.lexsort((following, keys))
        for left, right in _linked(keys[order], there[order]):
            open_pairs = label[left] != label[right]
            left, right = left[open_pairs], right[open_pairs]
            likeness = jaccard(signatures[left], signatures[right])
            if measure == "containment":
                likeness = containment(likeness, sizes[left], sizes[right])
            alike = likeness >= threshold
            if alike.any():
                label = components(label, left[alike], right[alike])
    return label


def _keys(signatures: NDArray[np.uint32], there: Ints, band: int) -> NDArray[np.uint64]:
    """One number for each document's place in a band, (len(there),)."""
    state = np.zeros(len(there), dtype=np.uint64)
    for column in range(band * BAND, (band + 1) * BAND):
        state = mix(state + signatures[there, column].astype(np.uint64) + _GOLDEN)
    return state


def _linked(keys: NDArray[np.uint64], names: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Each name with the first of its bucket, and with the one before it, in blocks; ``keys`` is sorted."""
    if not len(keys):
        return
    new = np.concatenate([[True], keys[1:] != keys[:-1]])
    starts = np.flatnonzero(new)
    first = starts[np.cumsum(new) - 1]
    later = np.flatnonzero(~new)
    second = later[later - 1 != first[later]]
    left, right = np.concatenate([first[later], second - 1]), np.concatenate([later, second])
    for start in range(0, len(left), _PAIRS):
        yield names[left[start : start + _PAIRS]], names[right[start : start + _PAIRS]]
