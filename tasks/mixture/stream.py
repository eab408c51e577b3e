"""The rows of one dataset's training files, in their order, with bounded memory and as often as they are wanted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tasks.errors import InputError
from tasks.store.manifest import FileRecord, Part
from tasks.store.storage import Storage
from tasks.store.tables import local_file, read_table

Ints = NDArray[np.int64]


class Counted(NamedTuple):
    """Rows of one pass.

    Args:
        rows: that there are.
        capped: that the cap takes out besides.
        places: (m,) how many rows are the first of their query, the second, and so on.
    """

    rows: int
    capped: int
    places: Ints


@dataclass
class Stream:
    """Rows of one dataset.

    Args:
        storage: the root.
        parts: of the stage ``shards``, all of one format.
        name: of the dataset, for errors.
        cap: rows that one document may be the positive of, in one pass; none: any number.
        counted: what :meth:`count` said; with it
        wanted: rows that will be taken in all: a pass that is not taken whole leaves out the last rows of the queries with most.
    """

    storage: Storage
    parts: Sequence[Part]
    name: str
    cap: int | None = None
    counted: Counted | None = None
    wanted: int | None = None
    _left: list[tuple[pa.Table, pa.Table, int]] = field(default_factory=list)
    _source: Iterator[tuple[pa.Table, pa.Table]] | None = None
    _number: int = 0

    def count(self) -> Counted:
        """What one pass has.

        Raises:
            InputError: there is no row.
        """
        rows, kept, seen = 0, 0, Counter[str]()
        places: Ints = np.zeros(0, dtype=np.int64)
        for part in self.parts:
            before = Counter[str]()
            for _, side in self._files(part):
                table = read_table(self.storage, side, ["query_id", "positive_ids"])
                mask = self._kept(table, seen)
                found = np.bincount(_places(table.filter(pa.array(mask)), before), minlength=len(places))
                found[: len(places)] += places
                rows, kept, places = rows + len(mask), kept + int(mask.sum()), found
        if not kept:
            raise InputError(
                f"dataset {self.name}: there is no training row of stage main to mix in",
                "check its splits and its recipe (one with several training stages cannot be mixed)",
            )
        return Counted(kept, rows - kept, places)

    def take(self, rows: int) -> tuple[pa.Table, pa.Table, Ints]:
        """The next rows of the files and of their sidecars, and the pass of each, from 0; after the last comes the first."""
        found: list[tuple[pa.Table, pa.Table, int]] = []
        wanted = rows
        while wanted:
            if not self._left:
                self._left.append(self._next())
            data, side, number = self._left.pop()
            found.append((data.slice(0, wanted), side.slice(0, wanted), number))
            if data.num_rows > wanted:
                self._left.append((data.slice(wanted), side.slice(wanted), number))
            wanted -= found[-1][0].num_rows
        passes = np.concatenate([np.full(one.num_rows, number, dtype=np.int64) for one, _, number in found])
        return pa.concat_tables([one for one, _, _ in found]), pa.concat_tables([one for _, one, _ in found]), passes

    def _next(self) -> tuple[pa.Table, pa.Table, int]:
        while True:
            if self._source is None:
                self._source = self._pass()
            following = next(self._source, None)
            if following is not None:
                return (*following, self._number)
            self._source, self._number = None, self._number + 1

    def _pass(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        seen, room = Counter[str](), self._room()
        for part in self.parts:
            before = Counter[str]()
            for data, side in self._files(part):
                rows, sidecar = self._rows(data), read_table(self.storage, side)
                mask = pa.array(self._kept(sidecar, seen))
                rows, sidecar = rows.filter(mask), sidecar.filter(mask)
                if room is not None:
                    mask = pa.array(_within(_places(sidecar, before), room))
                    rows, sidecar = rows.filter(mask), sidecar.filter(mask)
                if rows.num_rows:
                    yield rows, sidecar

    def _room(self) -> Ints | None:
        """Of a pass that is not read whole: how many rows that are the first of their query, the second, …; none: all."""
        if self.wanted is None or self.counted is None or self._number < self.wanted // self.counted.rows:
            return None
        return spread(self.counted.places, self.wanted % self.counted.rows)

    def _files(self, part: Part) -> Iterator[tuple[FileRecord, FileRecord]]:
        """Each training file of stage main with its sidecar."""
        for file in part.files:
            if file.name.startswith("data/"):
                stem = file.name.removeprefix("data/").rpartition(".")[0]
                yield file, part.file(f"sidecar/{stem}.parquet")

    def _rows(self, record: FileRecord) -> pa.Table:
        """A file's rows; of JSON lines one column ``line``."""
        if record.name.endswith(".parquet"):
            return read_table(self.storage, record)
        lines = local_file(self.storage, record).read_text(encoding="utf-8").split("\n")[:-1]
        return pa.table({"line": pa.array(lines, pa.large_string())})

    def _kept(self, sidecar: pa.Table, seen: Counter[str]) -> NDArray[np.bool_]:
        """Which rows the cap leaves; ``seen`` counts the rows of each positive."""
        kept = np.ones(sidecar.num_rows, dtype=bool)
        if self.cap is None:
            return kept
        for row, positives in enumerate(sidecar["positive_ids"].to_pylist()):
            if any(seen[one] >= self.cap for one in positives):
                kept[row] = False
            else:
                seen.update(positives)
        return kept


def spread(places: Ints, wanted: int) -> Ints:
    """Of ``wanted`` rows how many are the first of their query, the second, …: first ones before second ones.

    >>> spread(np.array([10, 8, 1]), 12).tolist()
    [10, 2, 0]
    """
    before = np.cumsum(places) - places
    found: Ints = np.clip(wanted - before, 0, places)
    return found


def _places(sidecar: pa.Table, before: Counter[str]) -> Ints:
    """Which row of its query each row is, from 0; ``before`` counts those of earlier files of the partition."""
    names = pd.Series(sidecar["query_id"].to_pylist(), dtype=object)
    found: Ints = (names.groupby(names).cumcount() + names.map(before).fillna(0)).to_numpy().astype(np.int64)
    before.update(names)
    return found


def _within(places: Ints, room: Ints) -> NDArray[np.bool_]:
    """Rows whose place has room; ``room`` is used up."""
    kept = np.zeros(len(places), dtype=bool)
    for place in np.unique(places).tolist():
        rows = np.flatnonzero(places == place)[: int(room[place])]
        kept[rows] = True
        room[place] -= len(rows)
    return kept


def labelled(rows: pa.Table, dataset: str, task: str) -> pa.Table:
    """Rows that say of which dataset and task they are.

    JSON lines and lists for distillation get ``dataset`` and ``task``; sentence-transformers' columns get ``dataset_name``, which its
    collator knows (prompts by dataset) and takes for no text.
    """
    if rows.column_names == ["line"]:
        lines = [
            json.dumps({**json.loads(line), "dataset": dataset, "task": task}, ensure_ascii=False) for line in rows["line"].to_pylist()
        ]
        return pa.table({"line": pa.array(lines, pa.large_string())})
    names = {"dataset": dataset, "task": task} if "docs" in rows.column_names else {"dataset_name": dataset}
    for name, value in names.items():
        rows = rows.append_column(name, pa.array([value] * rows.num_rows, pa.string()))
    return rows
