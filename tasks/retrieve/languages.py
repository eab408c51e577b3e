"""Which languages a query's candidates may have: its own, others, or some; decided while searching, so that no depth is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Languages = Literal["any", "same", "cross"] | tuple[str, ...]
Names = Sequence[str | None]


def keyed(languages: Languages) -> dict[str, Any]:
    """A job's setting; nothing where all languages are searched."""
    return {} if languages == "any" else {"languages": languages if isinstance(languages, str) else sorted(languages)}


def allowed(languages: Any, query: str | None, document: str | None) -> bool:
    """Whether a document may be a candidate of a query.

    Args:
        languages: ``same``, ``cross``, or a list of the documents' codes.
        query: its language; ``None``: unknown, which same and cross let pass.
        document: likewise; a list has no unknown one.

    >>> [allowed("same", "de", one) for one in ("de", "en", None)], [allowed("cross", "de", one) for one in ("de", "en")]
    ([True, False, True], [False, True])
    >>> [allowed(["en", "fr"], "de", one) for one in ("de", "en", None)]
    [False, True, False]
    """
    if not isinstance(languages, str):
        return document in languages
    if query is None or document is None:
        return True
    return (query == document) == (languages == "same")


def groups(names: Names) -> dict[str | None, NDArray[np.int64]]:
    """Rows by language, in the order of the languages' first rows."""
    found: dict[str | None, list[int]] = {}
    for row, name in enumerate(names):
        found.setdefault(name, []).append(row)
    return {name: np.asarray(rows, dtype=np.int64) for name, rows in found.items()}


def pairs_allowed(languages: Any, queries: Names, documents: Names) -> NDArray[np.bool_]:
    """:func:`allowed` of n pairs, shape (n,)."""
    known: dict[tuple[str | None, str | None], bool] = {}
    marks = np.empty(len(queries), dtype=bool)
    for row, pair in enumerate(zip(queries, documents, strict=True)):
        if pair not in known:
            known[pair] = allowed(languages, *pair)
        marks[row] = known[pair]
    return marks
