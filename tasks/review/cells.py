r"""What stands in a cell: texts that no spreadsheet takes for a formula, and labels as people write them.

A text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return (also after apostrophes) gets one apostrophe
more; reading takes it off again. So ``=1`` becomes ``'=1``, and ``'=1`` becomes ``''=1``.
"""

from __future__ import annotations

import re
from typing import Any

RELEVANT, NOT, UNSURE = "relevant", "not", "unsure"
LABELS = (RELEVANT, NOT, UNSURE)
_SPELLINGS = {
    RELEVANT: ("relevant", "rel", "r", "yes", "y", "true", "1", "1.0", "+", "ja", "oui", "si", "sí"),
    NOT: ("not", "not relevant", "non relevant", "nonrelevant", "irrelevant", "no", "n", "false", "0", "0.0", "-", "nein", "non"),
    UNSURE: ("unsure", "?", "maybe", "u", "unknown", "not sure", "uncertain", "unclear", "don't know", "dont know"),
}
_LABEL = {spelling: label for label, spellings in _SPELLINGS.items() for spelling in spellings}
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_MASKED = re.compile(r"'+[=+\-@\t\r]")


def mask(text: str) -> str:
    """The text as a cell that is no formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unmask(cell: str) -> str:
    r"""What :func:`mask` was given.

    >>> [unmask(mask(text)) for text in ("=1+1", "'=x", "'quoted'", "-", "")]
    ['=1+1', "'=x", "'quoted'", '-', '']
    """
    return cell[1:] if _MASKED.match(cell) else cell


def label_of(value: Any) -> str | None:
    """A label from a cell, in any case and common spelling; ``None`` where the cell is empty.

    >>> [label_of(one) for one in (" YES ", "Not-relevant", 0, "?", True, "")]
    ['relevant', 'not', 'not', 'unsure', 'relevant', None]

    Raises:
        ValueError: it is none of the labels.
    """
    if value is None:
        return None
    text = unmask(str(value).replace("\u2019", "'").strip()).casefold()
    text = text if text in _LABEL else re.sub(r"[\s_-]+", " ", text).strip(" .!")
    if not text:
        return None
    if text not in _LABEL:
        raise ValueError(text)
    return _LABEL[text]
