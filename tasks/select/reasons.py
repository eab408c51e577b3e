"""Reasons of many candidates: few distinct lists, and a number for each candidate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.select.base import Bools, Ints
from tasks.select.compose import SEPARATOR

Listed = tuple[str, ...]


@dataclass(frozen=True)
class Reasons:
    """Why candidates are rejected.

    Args:
        lists: distinct lists of reasons.
        code: (n,) which of them each candidate has.
    """

    lists: tuple[Listed, ...]
    code: Ints

    @classmethod
    def parse(cls, found: pa.ChunkedArray, place: Ints) -> Reasons:
        """From texts of reasons, given in any order. Two rules may give the same reason for a missing value: it counts once.

        Args:
            found: (n,) reasons with a space between them.
            place: (n,) which candidate each stands for.
        """
        encoded = pc.fill_null(found, "").combine_chunks().dictionary_encode()
        lists = [tuple(dict.fromkeys(text.split(SEPARATOR))) if text else () for text in encoded.dictionary.to_pylist()]
        distinct = {listed: number for number, listed in enumerate(dict.fromkeys(lists))}
        code = np.zeros(len(place), np.int64)
        code[place] = np.array([distinct[listed] for listed in lists], np.int64)[encoded.indices.to_numpy()]
        return cls(tuple(distinct), code)

    def add(self, which: Bools, reason: str) -> Reasons:
        """Append a reason to some candidates' lists (once)."""
        if not which.any():
            return self
        numbers = {listed: number for number, listed in enumerate(self.lists)}
        moved = np.arange(len(self.lists))
        for code in np.unique(self.code[which]).tolist():
            listed = self.lists[code]
            longer = listed if reason in listed else (*listed, reason)
            moved[code] = numbers.setdefault(longer, len(numbers))
        return Reasons(tuple(numbers), np.where(which, moved[self.code], self.code))

    def where(self, holds: Callable[[Listed], bool]) -> Bools:
        """(n,) whether something holds for a candidate's list."""
        marks: Bools = np.array([holds(listed) for listed in self.lists], np.bool_)[self.code] if self.lists else np.zeros(0, np.bool_)
        return marks

    @property
    def count(self) -> Ints:
        """(n,) how many reasons each candidate has."""
        lengths: Ints = np.array([len(listed) for listed in self.lists], np.int64)[self.code] if self.lists else np.zeros(0, np.int64)
        return lengths

    def table(self) -> pa.Array:
        """(n,) the lists, as a column."""
        return pa.array([list(listed) for listed in self.lists], pa.list_(pa.string())).take(pa.array(self.code))
