"""Existing triplets as candidates: the negatives that a team trains with already."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from tasks.errors import InputError
from tasks.foreign import repair
from tasks.retrieve.given.rows import Row, as_id, first, identifier, records
from tasks.store.keys import norm_hash


class Names(NamedTuple):
    """How a file names its queries and negatives: by id, or by text."""

    by_query_id: bool
    by_document_id: bool


def triplet_rows(path: Path, columns: Mapping[str, tuple[str, ...]], named: Names) -> Iterator[Row]:
    """The negatives of each row; texts stand as the hash of their normal form. A negative's rank is its place among its query's.

    Args:
        path: a table with a query (text or id) and negatives (one, a list, or ``negative_1``, ``negative_2`` …).
        columns: names to try, for anchor, query_id, negative and negative_id.
        named: from :func:`names_of`.

    Raises:
        InputError: a row has no query or no negative.
    """
    places: dict[str, Iterator[int]] = {}
    for line, values in records(path):
        if named.by_query_id:
            query = identifier(path, line, "query_id", values, columns["query_id"])
        else:
            query = norm_hash(_text(path, line, "anchor", first(values, columns["anchor"])))
        negatives = _listed(values, columns["negative_id" if named.by_document_id else "negative"])
        if not negatives:
            raise InputError(f"{path}:{line}: no negative ({' or '.join(columns['negative'])})", "name the column: columns.negative")
        for one in negatives:
            document = as_id(path, line, "negative_id", one) if named.by_document_id else norm_hash(_text(path, line, "negative", one))
            yield Row(query, document, math.nan, next(places.setdefault(query, count(1))), line)


def names_of(path: Path, columns: Mapping[str, tuple[str, ...]]) -> Names:
    """How a file names queries and negatives, by its first row: texts, where there are some, else ids.

    Raises:
        InputError: it has neither.
    """
    values = next((values for _, values in records(path)), None)
    if values is None:
        return Names(by_query_id=False, by_document_id=False)
    found = {name: bool(_listed(values, columns[name])) for name in ("anchor", "query_id", "negative", "negative_id")}
    for text, known in (("anchor", "query_id"), ("negative", "negative_id")):
        if not found[text] and not found[known]:
            raise InputError(
                f"{path}: there is no column {' or '.join((*columns[text], *columns[known]))}; it has {', '.join(map(str, values))}",
                f"set columns.{text} or columns.{known} to the right one",
            )
    return Names(by_query_id=not found["anchor"], by_document_id=not found["negative"])


def _listed(values: Mapping[str, Any], names: tuple[str, ...]) -> list[Any]:
    """What the columns hold: one value, a list, or numbered columns (``negative_1`` …)."""
    value = first(values, names)
    if value is not None:
        return [one for one in value if one not in (None, "")] if isinstance(value, list | tuple) else [value]
    numbered = (values.get(f"{name}_{place}") for name in names for place in range(1, 1 + len(values)))
    return [one for one in numbered if one not in (None, "")]


def _text(path: Path, line: int, field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{path}:{line}: the {field} is no text", f"mend the line, or name the column: columns.{field}")
    return repair(value)  # as the dataset's own are
