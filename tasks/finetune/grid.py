"""Training rows as rectangles: one row a positive, its negatives beside it. Pure array work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.models.order import passes, training_order

VALUES = ("teacher", "weight", "label", "lexical")

Ints = NDArray[np.int64]
Names = NDArray[np.object_]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """Rows in training order.

    Args:
        query_ids: shape (r,).
        positive_ids: document id of each row's positive, shape (r,).
        documents: numbers of the documents, the positive first, shape (r, c); -1: none.
        values: float32, shape (r, c), by name; NaN: unknown.
        stage: place of each row's training stage, shape (r,).
        epoch: shape (r,).
    """

    query_ids: Names
    positive_ids: Names
    documents: Ints
    values: dict[str, Floats]
    stage: Ints
    epoch: Ints

    def __len__(self) -> int:
        return len(self.query_ids)

    def take(self, rows: Ints | NDArray[np.bool_]) -> Grid:
        """Some rows."""
        return Grid(
            self.query_ids[rows],
            self.positive_ids[rows],
            self.documents[rows],
            {name: value[rows] for name, value in self.values.items()},
            self.stage[rows],
            self.epoch[rows],
        )

    def with_slots(self, where: NDArray[np.bool_], documents: Ints, values: dict[str, Floats]) -> Grid:
        """Other documents (and values) in the slots that ``where``, of shape (r, c), marks."""
        return replace(
            self,
            documents=np.where(where, documents, self.documents),
            values={name: np.where(where, values[name], value).astype(np.float32) for name, value in self.values.items()},
        )


def grid(lines: pa.Table, numbers: Ints, stages: Sequence[str], num_negatives: int | None) -> Grid:
    """Lines as rows, ordered by training stage, then epoch, then as they come.

    Args:
        lines: of :func:`tasks.finetune.lines.lines`; of one or several partitions, each row's lines together, by slot.
        numbers: number of the document on each line.
        stages: in order; rows of other stages are left out.
        num_negatives: the first so many are kept; ``None``: all.
    """
    slot = np.asarray(lines["slot"].to_numpy(), dtype=np.int64)
    first = np.flatnonzero(slot == 0)
    counts = np.diff(np.append(first, len(slot)))
    width = int(counts.max(initial=1)) if num_negatives is None else min(num_negatives + 1, int(counts.max(initial=1)))
    places = first[:, None] + np.arange(width)
    there = np.arange(width) < counts[:, None]
    places = np.where(there, places, 0)
    values = {name: np.asarray(lines[name].to_numpy(zero_copy_only=False), dtype=np.float32) for name in VALUES}
    names = np.asarray(lines["stage"].to_pylist(), dtype=object)[first]
    stage = np.full(len(first), -1, dtype=np.int64)
    for place, name in enumerate(stages):
        stage[names == name] = place
    epoch = np.asarray(lines["epoch"].to_numpy(), dtype=np.int64)[first]
    made = Grid(
        query_ids=np.asarray(lines["query_id"].to_pylist(), dtype=object)[first],
        positive_ids=np.asarray(lines["doc_id"].to_pylist(), dtype=object)[first],
        documents=np.where(there, numbers[places], -1) if len(numbers) else np.full(places.shape, -1, dtype=np.int64),
        values={
            name: np.where(there, value[places] if len(value) else np.nan, np.nan).astype(np.float32) for name, value in values.items()
        },
        stage=stage,
        epoch=epoch,
    )
    return made.take(training_order(stage, epoch))


def lessons(made: Grid, epochs: int) -> Ints:
    """First row and end of each pass: ``epochs`` passes over each stage, over its epochs' rows in turn where it has several.

    Args:
        made: rows ordered by stage and epoch.
        epochs: passes over each stage.

    Returns:
        int64, shape (passes, 2).
    """
    return passes(made.stage, made.epoch, epochs)
