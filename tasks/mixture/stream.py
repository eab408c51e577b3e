"""The rows of one dataset's training files, in their order, with bounded memory and as often as they are wanted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.errors import InputError
from tasks.store.manifest import FileRecord, Part
from tasks.store.storage import Storage
from tasks.store.tables import local_file, read_table


@dataclass
class Stream:
    """Rows of one dataset.

    Args:
        storage: the root.
        parts: of the stage ``shards``, all of one format.
        name: of the dataset, for errors.
        cap: rows that one document may be the positive of, in one pass; none: any number.
    """

    storage: Storage
    parts: Sequence[Part]
    name: str
    cap: int | None = None
    _left: list[tuple[pa.Table, pa.Table]] = field(default_factory=list)
    _source: Iterator[tuple[pa.Table, pa.Table]] | None = None

    def count(self) -> tuple[int, int]:
        """Rows of one pass, and how many the cap takes out.

        Raises:
            InputError: there is no row.
        """
        rows, kept, seen = 0, 0, Counter[str]()
        for _, side in self._files():
            mask = self._kept(read_table(self.storage, side, ["positive_ids"]), seen)
            rows, kept = rows + len(mask), kept + int(mask.sum())
        if not kept:
            raise InputError(
                f"dataset {self.name}: there is no training row of stage main to mix in",
                "check its splits and its recipe (one with several training stages cannot be mixed)",
            )
        return kept, rows - kept

    def take(self, rows: int) -> tuple[pa.Table, pa.Table]:
        """The next rows of the files, and of their sidecars; after the last comes the first."""
        found: list[tuple[pa.Table, pa.Table]] = []
        wanted = rows
        while wanted:
            if not self._left:
                self._left.append(self._next())
            data, side = self._left.pop()
            found.append((data.slice(0, wanted), side.slice(0, wanted)))
            if data.num_rows > wanted:
                self._left.append((data.slice(wanted), side.slice(wanted)))
            wanted -= found[-1][0].num_rows
        return pa.concat_tables([one for one, _ in found]), pa.concat_tables([one for _, one in found])

    def _next(self) -> tuple[pa.Table, pa.Table]:
        if self._source is None:
            self._source = self._pass()
        following = next(self._source, None)
        if following is None:
            self._source = self._pass()
            following = next(self._source)
        return following

    def _pass(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        seen = Counter[str]()
        for data, side in self._files():
            rows, sidecar = self._rows(data), read_table(self.storage, side)
            mask = pa.array(self._kept(sidecar, seen))
            rows, sidecar = rows.filter(mask), sidecar.filter(mask)
            if rows.num_rows:
                yield rows, sidecar

    def _files(self) -> Iterator[tuple[FileRecord, FileRecord]]:
        """Each training file of stage main with its sidecar."""
        for part in self.parts:
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
