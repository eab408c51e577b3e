"""From titles and texts to what a model is given."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

_FIELD = re.compile(r"\{(title|text)\}")


def fill_template(template: str, titles: Sequence[str | None], texts: Sequence[str | None]) -> list[str]:
    """Documents' inputs; a document with an empty title is its text alone.

    >>> fill_template("{title}: {text}", ["A", None], ["b", "c"])
    ['A: b', 'c']
    """
    if template == "{text}":
        return [text or "" for text in texts]
    return [_fill(template, title, text or "") if title else text or "" for title, text in zip(titles, texts, strict=True)]


def document_inputs(template: str, documents: pa.Table) -> list[str]:
    """:func:`fill_template` over the columns ``title`` and ``text``."""
    return fill_template(template, documents["title"].to_pylist(), documents["text"].to_pylist())


def _fill(template: str, title: str, text: str) -> str:
    return _FIELD.sub(lambda found: title if found[1] == "title" else text, template)
