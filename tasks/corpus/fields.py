"""One row seen through the names of its columns: what an id, a text, a grade and a list may be.

Ids are kept as they are; whole numbers become strings. In texts a NUL becomes a space and a lone surrogate U+FFFD,
since neither can be stored or tokenised; an id that has one is set aside.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from tasks.foreign import repair

Aliases = Mapping[str, tuple[str, ...]]


class RowError(Exception):
    """A row cannot be used; the text is the reason."""


class Fields:
    """One row seen through the column names; counts the texts that it repairs."""

    def __init__(self, columns: Aliases) -> None:
        self._columns = columns
        self._values: Mapping[str, Any] = {}
        self.repaired = 0

    def of(self, values: Mapping[str, Any]) -> Fields:
        """The same names over the next row."""
        self._values = values
        return self

    def value(self, field: str) -> Any:
        """The first column of that field that holds something, or ``None``."""
        for name in self._columns.get(field, ()):
            value = self._values.get(name)
            if value is not None:
                return value
        return None

    def identifier(self, field: str) -> str:
        """An id, exactly as it is.

        Raises:
            RowError: there is none, or it cannot be one.
        """
        value = self.value(field)
        if value is None or (isinstance(value, str) and not value.strip()):
            raise RowError(f"no {field} ({self._looked_for(field)})")
        return identifier(value, field)

    def text(self, field: str) -> str:
        """A text, repaired; empty where there is none.

        Raises:
            RowError: it is something else than text.
        """
        value = self.value(field)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise RowError(f"{field} is not text")
        return self.clean(value)

    def label(self, field: str) -> str | None:
        """A name of a group, split or language, ``None`` where it is empty."""
        value = self.value(field)
        return None if value is None or value == "" else identifier(value, field)

    def clean(self, text: str) -> str:
        """The text without NULs and lone surrogates."""
        repaired = repair(text)
        self.repaired += repaired is not text
        return repaired

    def _looked_for(self, field: str) -> str:
        return "column " + " or ".join(self._columns.get(field, (field,)))


def identifier(value: Any, field: str) -> str:
    """A value as an id.

    Raises:
        RowError: it is neither a string nor a whole number, or has characters that an id cannot have.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise RowError(f"{field} is neither a string nor a whole number")
    if repair(value) is not value:
        raise RowError(f"{field} has a NUL or a lone surrogate")
    return value


def grade(value: Any) -> int:
    """A grade; absent means 1.

    Raises:
        RowError: it is not a whole number that 32 bits hold.
    """
    if value is None:
        return 1
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        if not math.isfinite(number) or number != int(number) or abs(number) > 2**31 - 1:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise RowError(f"the grade {str(value)[:40]!r} is not a whole number") from None
    return int(number)


def listed(value: Any, field: str) -> list[Any] | None:
    """A list as it is; a string as a JSON list if it looks like one (CSV), else alone."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.startswith("["):
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            return [value]
        return parsed if isinstance(parsed, list) else [value]
    if isinstance(value, str | int) and not isinstance(value, bool):
        return [value]
    if not isinstance(value, list):
        raise RowError(f"{field} is not a list")
    return value
