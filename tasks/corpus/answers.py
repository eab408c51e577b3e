"""Where an answer stands in a text: at word borders, in scripts that have such.

An answer "art" is not in "party". Scripts that put no spaces between words (Chinese, Japanese, Thai …), and Korean, which adds particles
to its words, have no border that could be asked for: there an answer stands wherever its characters do.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from tasks.store.keys import normalise

# first and last code point of blocks without word borders, ascending
_BORDERLESS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x109F),  # Tibetan, Myanmar
    (0x1100, 0x11FF),  # Hangul Jamo
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x31FF),  # Chinese radicals and marks, kana, Bopomofo, Hangul compatibility Jamo
    (0x3400, 0x9FFF),  # Chinese characters
    (0xA960, 0xA97F),  # Hangul Jamo extended A
    (0xA980, 0xA9FF),  # Javanese, Myanmar extended B
    (0xAA60, 0xAA7F),  # Myanmar extended A
    (0xAC00, 0xD7FF),  # Hangul
    (0xF900, 0xFAFF),  # Chinese compatibility characters
    (0xFF66, 0xFFDC),  # half-width kana and Hangul
    (0x1AFF0, 0x1B16F),  # kana extended
    (0x20000, 0x3FFFF),  # Chinese characters of the higher planes
)
_FIRST = [first for first, _ in _BORDERLESS]


def wanted(answers: Sequence[str | None] | None) -> list[str]:
    """A query's answers in the form in which they are looked for; empty ones are none."""
    return [found for found in (normalise(answer or "") for answer in answers or ()) if found]


def places(text: str, answer: str) -> Iterator[int]:
    """Where each occurrence of an answer ends, ascending; both as :func:`tasks.store.keys.normalise` makes them.

    >>> list(places("a party for art, arts and art", "art")), list(places("東京都に住む", "東京"))
    ([15, 29], [2])
    """
    start = text.find(answer)
    while start >= 0:
        end = start + len(answer)
        if not (_joined(text[start - 1 : start], answer[0]) or _joined(answer[-1], text[end : end + 1])):
            yield end
        start = text.find(answer, start + 1)


def holds(text: str, answers: Sequence[str]) -> bool:
    """Whether one of the answers stands in a text; all of them as :func:`tasks.store.keys.normalise` makes them."""
    return any(True for answer in answers for _ in places(text, answer))


def _joined(before: str, after: str) -> bool:
    """Whether two neighbouring characters are of one word."""
    return bool(before and after) and _in_word(before) and _in_word(after)


def _in_word(character: str) -> bool:
    """Whether a character is part of words that have borders: a letter, digit, mark or underscore."""
    if character.isascii():
        return character.isalnum() or character == "_"
    point = ord(character)
    block = bisect_right(_FIRST, point) - 1
    if block >= 0 and point <= _BORDERLESS[block][1]:
        return False
    return unicodedata.category(character)[0] in "LNM"
