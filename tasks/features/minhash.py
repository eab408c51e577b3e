"""MinHash signatures of word shingles, on flat arrays: no loop over words or documents but for parsing the texts.

Equal texts get equal signatures in every partition: a word's hash is xxh3 of the word, and the permutations are fixed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain

import numpy as np
import xxhash
from numpy.typing import NDArray

from tasks.store.keys import normalise

PERMUTATIONS = 128
EMPTY = np.uint32(0xFFFFFFFF)

_WORD = re.compile(r"\w+")
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]


class WordHashes(dict[str, int]):
    """xxh3 of each word, computed once."""

    def __missing__(self, word: str) -> int:
        self[word] = value = xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass"))
        return value


def words(texts: Sequence[str], hashes: WordHashes) -> tuple[Hashes, Ints]:
    r"""Hashed words (``\w+`` of the normal form) of texts, flat, and how many each text has.

    Args:
        texts: (n,).
        hashes: kept from block to block.

    Returns:
        uint64 (words,) and int64 (n,).
    """
    parsed = [_WORD.findall(normalise(text)) for text in texts]
    counts = np.fromiter(map(len, parsed), dtype=np.int64, count=len(parsed))
    flat = np.fromiter(map(hashes.__getitem__, chain.from_iterable(parsed)), dtype=np.uint64, count=int(counts.sum()))
    return flat, counts


def shingles(flat: Hashes, counts: Ints, size: int) -> tuple[Hashes, Ints]:
    """Hashed runs of ``size`` words, flat, and how many each text has.

    A text of fewer words has one shingle of all of them; a text without words has none.

    Args:
        flat: (words,) uint64.
        counts: (n,): words of each text.
        size: words in a shingle.
    """
    place = np.arange(len(flat), dtype=np.int64)
    left = np.repeat(np.cumsum(counts), counts) - place  # words from here to the text's end
    total = np.repeat(counts, counts)
    first = left == total
    keep = (left >= size) | (first & (total < size))
    state = np.zeros(int(keep.sum()), dtype=np.uint64)
    starts, words_in = place[keep], np.minimum(left[keep], size)
    for step in range(size):
        longer = words_in > step
        word = flat[np.where(longer, starts + step, 0)]
        state = np.where(longer, mix(state + word + np.uint64(_GOLDEN)), state)
    return state, np.maximum(counts - size + 1, np.minimum(counts, 1))


def signatures(hashed: Hashes, counts: Ints) -> NDArray[np.uint32]:
    """The least value of each permutation over a text's shingles.

    Args:
        hashed: (shingles,) uint64.
        counts: (n,): shingles of each text.

    Returns:
        uint32 (n, PERMUTATIONS); :data:`EMPTY` throughout for a text without shingles.
    """
    result = np.full((len(counts), PERMUTATIONS), EMPTY, dtype=np.uint32)
    there = counts > 0
    starts = (np.cumsum(counts) - counts)[there]
    if not len(starts):
        return result
    least = np.empty((PERMUTATIONS, len(starts)), dtype=np.uint32)
    product, high = np.empty_like(hashed), np.empty(len(hashed), dtype=np.uint32)
    for number, (factor, summand) in enumerate(zip(_FACTORS, _SUMMANDS, strict=True)):
        np.multiply(hashed, factor, out=product)
        np.add(product, summand, out=product)
        high[:] = product.view(np.uint32)[_HIGH::2]
        np.minimum.reduceat(high, starts, out=least[number])
    result[there] = least.T
    return result


def distinct(hashed: Hashes, counts: Ints) -> NDArray[np.int32]:
    """Number of distinct shingles of each text, int32 (n,); told apart by 44 bits within a text, n ≤ 2**20."""
    text = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
    keys = np.sort((text << np.uint64(44)) | (hashed >> np.uint64(20)))
    new = np.concatenate([[True], keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, dtype=bool)
    return np.bincount((keys[new] >> np.uint64(44)).astype(np.int64), minlength=len(counts)).astype(np.int32)


def mix(state: Hashes) -> Hashes:
    """SplitMix64's finaliser on each number."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _constants(first: int) -> Hashes:
    return mix(np.array([(first + number) * _GOLDEN & _MASK for number in range(PERMUTATIONS)], dtype=np.uint64))


# Multiply-shift: the high half of (odd factor * hash + summand) mod 2**64.
_FACTORS = _constants(1) | np.uint64(1)
_SUMMANDS = _constants(1 + PERMUTATIONS)
_HIGH = 1 if np.little_endian else 0
