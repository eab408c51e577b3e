"""Queries that say the same: equal but for case, form, punctuation and white space, or with nearly the same words. No model.

Near duplicates share a rare word: sets of words with a Jaccard index of t or more have in common one of their rarest words, the first
n - ⌈t·n⌉ + 1 of n in any one order of all words (prefix filtering: Bayardo, Ma and Srikant, Scaling up all pairs similarity search, WWW
2007 [general knowledge]). All are found where no such word is shared by more sets than a window holds (:func:`near_sets`). Words are what
stands between white space, so a text in a script without it is one word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from tasks.components import components
from tasks.store.keys import normalise

Ints = NDArray[np.int64]

WINDOW = 128
_PAIRS = 65_536
_PLANES = 0x20000  # all punctuation of Unicode lies below
_CLOSE = 1e-9  # what a product of a share and a count may be off


def fold(text: str) -> str:
    r"""The normal form without punctuation; of a text of nothing else the normal form itself.

    >>> fold("  What's NEW,\u00a0here?! "), fold("C++ or C#"), fold("?!")
    ('what s new here', 'c++ or c', '?!')
    """
    plain = normalise(text)
    return " ".join(plain.translate(_punctuation()).split()) or plain


def near_sets(texts: Sequence[str], threshold: float, window: int = WINDOW) -> Ints:
    """Components of texts whose sets of words are alike, directly or in a chain.

    A set is compared with the ``window`` sets before it in the list of each of its rarest words, ordered by size, and with no others: where
    more sets than that share a word that is rare in all of them, pairs may be missed, and the work stays in proportion to the texts.

    Args:
        texts: (n,) of :func:`fold`, each once, sorted.
        threshold: least Jaccard index of two sets that are alike, over 0.
        window: how many.

    Returns:
        (n,) int64: the least number of each text's component.
    """
    label = np.arange(len(texts), dtype=np.int64)
    if len(texts) < 2:
        return label
    flat, counts = _words(texts)
    starts = np.cumsum(counts) - counts
    owner = np.repeat(label, counts)
    kept = counts - np.ceil(threshold * counts - _CLOSE).astype(np.int64) + 1
    rare = np.arange(len(flat)) - starts[owner] < kept[owner]
    word, text = flat[rare], owner[rare]
    order = np.lexsort((text, counts[text], word))
    word, text = word[order], text[order]
    for back in range(1, window + 1):
        same = np.flatnonzero(word[back:] == word[:-back])
        if not len(same):
            break
        left, right = text[same], text[same + back]
        open_pairs = (label[left] != label[right]) & (counts[left] >= threshold * counts[right] - _CLOSE)
        for one, other in _blocks(left[open_pairs], right[open_pairs]):
            alike = _jaccard(flat, starts, counts, one, other) >= threshold - _CLOSE
            label = components(label, one[alike], other[alike])
    return label


def _words(texts: Sequence[str]) -> tuple[Ints, Ints]:
    """Numbers of the different words of each text, flat, the rarest of all words first; and how many each text has."""
    sets = [set(text.split()) for text in texts]
    counts = np.fromiter(map(len, sets), dtype=np.int64, count=len(sets))
    often: dict[str, int] = {}
    for word in chain.from_iterable(sets):
        often[word] = often.get(word, 0) + 1
    rank = {word: number for number, word in enumerate(sorted(often, key=lambda word: (often[word], word)))}
    flat = np.fromiter((rank[word] for word in chain.from_iterable(sets)), dtype=np.int64, count=int(counts.sum()))
    owner = np.repeat(np.arange(len(sets)), counts)
    return flat[np.lexsort((flat, owner))], counts


def _jaccard(flat: Ints, starts: Ints, counts: Ints, left: Ints, right: Ints) -> NDArray[np.float64]:
    """Jaccard index of pairs of sets, (pairs,): a word that comes twice in a pair is in both."""
    both = np.stack([left, right], axis=1).ravel()
    sizes = counts[both]
    pair = np.repeat(np.repeat(np.arange(len(left)), 2), sizes)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    keys = np.sort(pair * (int(flat.max()) + 1) + flat[np.repeat(starts[both], sizes) + within])
    shared = np.bincount(keys[1:][keys[1:] == keys[:-1]] // (int(flat.max()) + 1), minlength=len(left))
    index: NDArray[np.float64] = shared / (counts[left] + counts[right] - shared)
    return index


def _blocks(left: Ints, right: Ints) -> Iterator[tuple[Ints, Ints]]:
    for start in range(0, len(left), _PAIRS):
        yield left[start : start + _PAIRS], right[start : start + _PAIRS]


@cache
def _punctuation() -> dict[int, str]:
    return {point: " " for point in range(_PLANES) if unicodedata.category(chr(point))[0] == "P"}
