"""Documents of several rounds under one numbering, and their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.finetune.grid import Ints
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import take_texts


@dataclass(frozen=True)
class Corpora:
    """Document partitions of rounds; rounds over the same documents share their numbers. The first round's begin at 0.

    Args:
        sets: different sets of document partitions.
        set_of: for each round the place of its set.
        starts: for each set the number of the first document of each of its partitions, and the end.
    """

    sets: tuple[tuple[Part, ...], ...]
    set_of: tuple[int, ...]
    starts: tuple[Ints, ...]

    @classmethod
    def of(cls, rounds: Sequence[Sequence[Part]]) -> Corpora:
        """From each round's document partitions."""
        sets: list[tuple[Part, ...]] = []
        keys: list[list[str]] = []
        places = []
        for parts in rounds:
            key = [part.checksum for part in parts]
            if key not in keys:
                keys.append(key)
                sets.append(tuple(parts))
            places.append(keys.index(key))
        starts, first = [], 0
        for each in sets:
            rows = [part.file("docs.parquet").rows or 0 for part in each]
            starts.append(first + np.concatenate([[0], np.cumsum(rows)]).astype(np.int64))
            first = int(starts[-1][-1])
        return cls(tuple(sets), tuple(places), tuple(starts))

    @property
    def count(self) -> int:
        """Documents of the first round: their numbers are 0 … count - 1."""
        return int(self.starts[0][-1])

    def numbers(self, round_number: int, partition: NDArray[np.integer], row: NDArray[np.integer]) -> Ints:
        """Numbers of documents by their address in a round."""
        found: Ints = self.starts[self.set_of[round_number]][partition.astype(np.int64)] + row.astype(np.int64)
        return found

    def take(self, storage: Storage, numbers: Ints, columns: Sequence[str]) -> pa.Table:
        """Columns of documents, ascending numbers, each once."""
        pieces = []
        for parts, starts in zip(self.sets, self.starts, strict=True):
            own = numbers[(numbers >= starts[0]) & (numbers < starts[-1])]
            partition = np.searchsorted(starts, own, side="right") - 1
            pieces.append(take_texts(storage, parts, partition, own - starts[partition], columns))
        return pa.concat_tables(pieces).combine_chunks()
