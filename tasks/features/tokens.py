"""Tokens of texts as DPR's answer matching sees them, and whether one text holds another.

Source: DPR's ``SimpleTokenizer`` and ``has_answer`` [code, in part]: text in NFD, tokens are runs of letters, digits and marks, or single
other characters that are neither space nor control; compared in lower case.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import pairwise

_BREAK = "\x1f"  # between tokens; a control character, so no token has it
_ASCII = re.compile(r"[A-Za-z0-9]+|[!-/:-@\[-`{-~]")
_PLANES = (range(0x20000), range(0xE0000, 0xE0200))  # all marks of Unicode lie here


def token_line(text: str) -> str:
    r"""The tokens of a text in one string, with a break before, between and after them.

    So one line is part of another exactly where its tokens stand in it, one after the other.

    >>> token_line("U.S.  Öl").split("\x1f")[1:-1] == ["u", ".", "s", ".", "o\u0308l"]
    True
    >>> token_line("in the US") in token_line("Made IN the US."), token_line("the U") in token_line("the US")
    (True, False)
    >>> token_line(" ")
    ''
    """
    found = _tokens(unicodedata.normalize("NFD", text))
    return f"{_BREAK}{_BREAK.join(found)}{_BREAK}".lower() if found else ""


def _tokens(text: str) -> list[str]:
    if text.isascii():
        return _ASCII.findall(text)
    return [token for token in _pattern().findall(text) if len(token) > 1 or unicodedata.category(token)[0] not in "ZC"]


@cache
def _pattern() -> re.Pattern[str]:
    r"""``[^\W_]`` is what letters and numbers are; marks have no class of their own in ``re``."""
    marks = [point for plane in _PLANES for point in plane if unicodedata.category(chr(point))[0] == "M"]
    starts = [point for before, point in pairwise([-2, *marks]) if point != before + 1]
    ends = [point for point, after in pairwise([*marks, -2]) if after != point + 1]
    ranges = "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))
    return re.compile(rf"(?:[^\W_]|[{ranges}])+|\S")
