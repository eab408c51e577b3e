"""Against forgetting: negatives of earlier rounds, and random documents, in the place of some of a round's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.finetune.grid import Floats, Grid, Ints, Names

_TRIES = 4

Known = Callable[[Ints, Ints], NDArray[np.bool_]]
"""Whether rows' queries and documents (row numbers and document numbers, equally long) are known or suspected to be relevant."""


def with_earlier(now: Grid, earlier: Sequence[Grid], share: float, seed: int) -> tuple[Grid, int]:
    """Rows of which a share has the negatives that an earlier round had for the same query and positive.

    Args:
        now: the round's rows.
        earlier: of other rounds; of several that have the row one is drawn.
        share: probability of a row to be changed, where an earlier round has it.
        seed: of the draws.

    Returns:
        (rows, how many were changed).
    """
    if not share or not earlier or not len(now):
        return now, 0
    generator = np.random.Generator(np.random.PCG64([seed, 3]))
    drawn = generator.random(len(now)) < share
    found = np.stack([_same_rows(now, each) for each in earlier], axis=1)
    chance = np.where(found >= 0, generator.random(found.shape), -1.0)
    choice = chance.argmax(axis=1)
    changed = drawn & (found >= 0).any(axis=1)
    width = max(now.documents.shape[1], *(each.documents.shape[1] for each in earlier))
    made = _widened(now, width)
    for number, each in enumerate(earlier):
        rows = np.flatnonzero(changed & (choice == number))
        other = _widened(each.take(found[rows, number]), width)
        documents = made.documents.copy()
        documents[rows, 1:] = other.documents[:, 1:]
        where = np.zeros(documents.shape, dtype=bool)
        where[rows, 1:] = True
        values = {name: _placed(value, rows, other.values[name]) for name, value in made.values.items()}
        made = made.with_slots(where, documents, values)
    return made, int(changed.sum())


def without_known(made: Grid, known: Known) -> tuple[Grid, int]:
    """Rows without negatives that are known or suspected to be relevant by now: an earlier round could not know.

    Args:
        made: rows.
        known: pairs that are no negatives.

    Returns:
        (rows, how many negatives were taken out).
    """
    rows, slots = np.nonzero(made.documents >= 0)
    negative = slots > 0
    rows, slots = rows[negative], slots[negative]
    if not len(rows):
        return made, 0
    wrong = known(rows, made.documents[rows, slots])
    where = np.zeros(made.documents.shape, dtype=bool)
    where[rows[wrong], slots[wrong]] = True
    nothing: dict[str, Floats] = {name: np.full(where.shape, np.nan, dtype=np.float32) for name in made.values}
    return made.with_slots(where, np.full(where.shape, -1, dtype=np.int64), nothing), int(wrong.sum())


def with_random(made: Grid, share: float, seed: int, count: int, known: Known) -> tuple[Grid, int]:
    """Rows in which a share of the negatives are random documents.

    Args:
        made: rows.
        share: probability of a negative to be replaced.
        seed: of the draws.
        count: documents are drawn from 0 … count - 1.
        known: pairs that are no negatives; where all draws are such, the mined negative stays.

    Returns:
        (rows, how many negatives were replaced).
    """
    if not share or not len(made) or not count:
        return made, 0
    generator = np.random.Generator(np.random.PCG64([seed, 4]))
    wanted = generator.random(made.documents.shape) < share
    wanted[:, 0] = False
    rows, slots = np.nonzero(wanted & (made.documents >= 0))
    drawn = generator.integers(count, size=(len(rows), _TRIES))
    good = ~known(np.repeat(rows, _TRIES), drawn.ravel()).reshape(drawn.shape)
    good &= ~(drawn[:, :, None] == made.documents[rows][:, None, :]).any(axis=2)
    place = good.argmax(axis=1)
    usable = good.any(axis=1)
    rows, slots, chosen = rows[usable], slots[usable], drawn[usable, place[usable]]
    documents = made.documents.copy()
    documents[rows, slots] = chosen
    where = np.zeros(documents.shape, dtype=bool)
    where[rows, slots] = True
    nothing: dict[str, Floats] = {name: np.full(documents.shape, np.nan, dtype=np.float32) for name in made.values}
    return made.with_slots(where, documents, nothing), len(rows)


def _same_rows(now: Grid, earlier: Grid) -> Ints:
    """For each row the first row of an earlier round with the same query and positive; -1: none."""
    index = pd.MultiIndex.from_arrays([earlier.query_ids, earlier.positive_ids])
    first = np.flatnonzero(~index.duplicated())
    place = index[first].get_indexer(pd.MultiIndex.from_arrays([now.query_ids, now.positive_ids]))
    return np.where(place >= 0, first[place], -1).astype(np.int64) if len(first) else np.full(len(now), -1, dtype=np.int64)


def _widened(made: Grid, width: int) -> Grid:
    missing = width - made.documents.shape[1]
    if missing <= 0:
        return made
    return Grid(
        made.query_ids,
        made.positive_ids,
        np.pad(made.documents, ((0, 0), (0, missing)), constant_values=-1),
        {name: np.pad(value, ((0, 0), (0, missing)), constant_values=np.nan) for name, value in made.values.items()},
        made.stage,
        made.epoch,
    )


def _placed(value: Floats, rows: Ints, other: Floats) -> Floats:
    made = value.copy()
    made[rows] = other
    return made


def pair_keys(queries: Names, documents: Names) -> pd.Index:  # type: ignore[type-arg]
    """Pairs of hashes as one index of strings."""
    joined: Names = queries + "/" + documents
    return pd.Index(joined)
