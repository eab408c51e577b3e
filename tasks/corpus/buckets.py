"""Rows by partition, with bounded memory: what does not fit is laid down on disk until all rows are there."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

#: characters of text kept in memory before rows go to disk
LIMIT = 32 << 20
_ROW = 100


class Buckets:
    """Collects rows of one table for any number of partitions, in the order in which they are added.

    Args:
        schema: of the rows.
        scratch: a local folder for spilled rows.
        limit: characters in memory.
    """

    def __init__(self, schema: pa.Schema, scratch: Path, limit: int = LIMIT) -> None:
        self._schema = schema
        self._scratch = scratch
        self._limit = limit
        self._held: dict[int, list[Sequence[Any]]] = {}
        self._size = 0
        self._spills: list[tuple[Path, dict[int, int]]] = []
        self.rows = 0

    def add(self, partition: int, row: Sequence[Any], size: int = 0) -> None:
        """Add a row, ``size`` characters long."""
        self._held.setdefault(partition, []).append(row)
        self.rows += 1
        self._size += size + _ROW
        if self._size > self._limit:
            self._spill()

    def tables(self) -> Iterator[tuple[int, pa.Table]]:
        """(partition, its rows) of every partition that has rows, one in memory at a time. Nothing may be added after."""
        if self._spills:
            self._spill()
        partitions = sorted(set(self._held).union(*(places for _, places in self._spills)))
        readers = [(pa.ipc.open_file(pa.OSFile(str(path))), places) for path, places in self._spills]
        for partition in partitions:
            batches = [reader.get_batch(places[partition]) for reader, places in readers if partition in places]
            if partition in self._held:
                batches.append(self._batch(self._held.pop(partition)))
            yield partition, pa.Table.from_batches(batches, self._schema).combine_chunks()

    def close(self) -> None:
        """Remove what lies on disk."""
        for path, _ in self._spills:
            path.unlink(missing_ok=True)
        self._spills = []

    def _batch(self, rows: list[Sequence[Any]]) -> pa.RecordBatch:
        columns = zip(*rows, strict=True)
        return pa.record_batch(
            [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)], schema=self._schema
        )

    def _spill(self) -> None:
        if not self._held:
            return
        path = self._scratch / f"{uuid.uuid4().hex}.spill"
        places: dict[int, int] = {}
        self._spills.append((path, places))
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, self._schema) as writer:
            for place, partition in enumerate(sorted(self._held)):
                writer.write_batch(self._batch(self._held[partition]))
                places[partition] = place
        self._held = {}
        self._size = 0
