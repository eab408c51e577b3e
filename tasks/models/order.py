"""Who is trained on, and in what order: rows, passes over them, and with :func:`tasks.models.samples.shuffled` the batches. No torch."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.models.samples import Ints

TRAINED = "train"


def is_trained(split: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether queries may be trained on: those of the split train, and those of none.

    >>> is_trained(pa.chunked_array([["train", None, "test", "Train"]])).to_pylist()
    [True, True, False, True]
    """
    return pc.fill_null(pc.equal(pc.utf8_lower(split), TRAINED), True)


def training_order(stage: Ints, epoch: Ints) -> Ints:
    """Places of the rows in training order: by training stage, then epoch, then as they come.

    Args:
        stage: (r,) place of each row's training stage; rows with -1 are left out.
        epoch: (r,) the epoch that it was drawn for.

    >>> training_order(np.array([1, 0, -1, 0]), np.array([0, 1, 0, 0])).tolist()
    [3, 1, 0]
    """
    order = np.lexsort((np.arange(len(stage)), epoch, stage))
    found: Ints = order[stage[order] >= 0]
    return found


def passes(stage: Ints, epoch: Ints, epochs: int) -> Ints:
    """First row and end of each pass: ``epochs`` passes over each stage, over its epochs' rows in turn where it has several.

    Args:
        stage: (r,) of rows in training order.
        epoch: (r,) of the same.
        epochs: passes over each stage.

    Returns:
        int64, shape (passes, 2).
    """
    found: list[tuple[int, int]] = []
    for one in np.unique(stage).tolist():
        own = np.flatnonzero(stage == one)
        sets = [own[epoch[own] == number] for number in np.unique(epoch[own]).tolist()]
        found += [(int(rows[0]), int(rows[-1]) + 1) for rows in (sets[number % len(sets)] for number in range(epochs))]
    return np.array(found, dtype=np.int64).reshape(-1, 2)
