"""Which rows stand in a batch together: no query twice, and none beside a text that is relevant to it, as far as the rows allow it.

In a batch each row's texts are negatives of the other rows' queries (Henderson et al. 2017): a query's other positive, or its own text on
another row, would be a false one. Rows are dealt to batches like cards, those that share texts one after the other, so that equal ones
come to different batches; what clashes still is exchanged with rows of other batches while that helps. Arrays only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.components import components
from tasks.mixture.texts import Entries, Ints

_ROUNDS = 1_000  # of exchanges at most
_PATIENCE = 100  # rounds that gain next to nothing one after the other, after which it stays as it is
_LEAST = 1e-3  # of what is left

_OWN = 8.0  # a query, or one's own positive, on two rows costs so much more than a positive that is another row's negative

Bools = NDArray[np.bool_]


def arranged(entries: Entries, passes: Ints, size: int, seed: Sequence[int]) -> tuple[Ints, int]:
    """An order of rows in which each ``size`` of them are a batch, and how many rows clash in it.

    A row clashes if another row of its batch has the same query, or a text that is relevant to its query.

    Args:
        entries: of the rows.
        passes: (n,) ascending from 0, of each row; an earlier pass comes in earlier batches, but for single exchanges. n: whole batches.
        size: rows of a batch.
        seed: of all draws.

    Returns:
        (n,) numbers of rows, and the count of those that clash.
    """
    generator = np.random.Generator(np.random.PCG64(list(seed)))
    batch = _dealt(entries, passes, size, generator)
    shared = entries.take(_shared(entries))
    batch = _parted(shared, batch, size, generator)
    order = np.lexsort((generator.random(len(batch)), batch))
    return order.astype(np.int64), len(clashing(shared, batch))


def clashing(entries: Entries, batch: Ints) -> Ints:
    """The rows that clash, ascending.

    Args:
        entries: of the rows.
        batch: (n,) of each row.
    """
    order, group, bad, _ = _groups(entries, batch)
    held = np.bincount(group, weights=entries.held[order]) if len(order) else np.empty(0)
    others = held[group] - entries.held[order] > 0
    return np.unique(entries.row[order][bad[group] & entries.wanted[order] & others])


def _dealt(entries: Entries, passes: Ints, size: int, generator: np.random.Generator) -> Ints:
    """The batch of each row: rows of one pass in the order of what they share, dealt to the batches of the pass in turn."""
    count = len(passes)
    own = entries.take(entries.wanted & entries.held)
    order = np.lexsort((own.row, own.key))
    row, same = own.row[order], own.key[order][1:] == own.key[order][:-1]
    label = components(np.arange(count), row[:-1][same], row[1:][same])
    dealt = np.lexsort((np.arange(count), *(_draws(each, passes, generator) for each in (entries.query, label)), passes))
    place = np.arange(count)
    slots = np.lexsort((place // size, place % size, passes))
    batch = np.empty(count, dtype=np.int64)
    batch[dealt] = slots // size
    return batch


def _draws(group: Ints, passes: Ints, generator: np.random.Generator) -> NDArray[np.uint64]:
    """A random number for each group and pass (splitmix64 of one a group and one a pass)."""
    of_group, of_pass = (generator.integers(2**64, size=int(each.max(initial=0)) + 1, dtype=np.uint64) for each in (group, passes))
    word = of_group[group] ^ of_pass[passes]
    with np.errstate(over="ignore"):
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def _shared(entries: Entries) -> Bools:
    """Entries whose key is on several rows, wanted by one and held by one at least: no others can clash."""
    rows = np.bincount(entries.key)
    wanted, held = np.bincount(entries.key, weights=entries.wanted), np.bincount(entries.key, weights=entries.held)
    found: Bools = ((rows > 1) & (wanted > 0) & (held > 0))[entries.key]
    return found


def _parted(entries: Entries, batch: Ints, size: int, generator: np.random.Generator) -> Ints:
    """Exchange rows that clash for rows of other batches, each batch in one exchange a round, where the two batches gain together."""
    count = len(batch) // size
    cost, idle = _costs(entries, batch, count), 0
    for _ in range(_ROUNDS):
        bad = np.flatnonzero(cost > 0)
        if not len(bad) or count < 2 or idle >= _PATIENCE:
            break
        drawn = generator.permutation(count)
        drawn = np.concatenate([drawn[cost[drawn] > 0], drawn[cost[drawn] == 0]])
        half = min(len(bad), count // 2)
        left, right = drawn[:half], drawn[half : 2 * half]
        one = _drawn(*_blamed(entries, batch, left), left, generator)
        members = np.flatnonzero(np.isin(batch, right))
        other = _drawn(members, batch[members], right, generator)
        trial = batch.copy()
        trial[one], trial[other] = right, left
        made = _costs(entries, trial, count, np.concatenate([left, right]))
        gain = cost[left] + cost[right] - made[left] - made[right]
        taken = gain >= 0  # what costs the same may lead on
        batch[one[taken]], batch[other[taken]] = right[taken], left[taken]
        for each in (left[taken], right[taken]):
            cost[each] = made[each]
        idle = 0 if gain[taken].sum() > _LEAST * cost.sum() else idle + 1
    return batch


def _blamed(entries: Entries, batch: Ints, among: Ints) -> tuple[Ints, Ints]:
    """Rows that have to do with a clash in some batches, and their batches."""
    inside = entries.take(np.isin(batch[entries.row], among))
    order, group, bad, _ = _groups(inside, batch)
    rows = np.unique(inside.row[order][bad[group]])
    return rows, batch[rows]


def _drawn(rows: Ints, batch: Ints, wanted: Ints, generator: np.random.Generator) -> Ints:
    """A row of each wanted batch, at random."""
    order = np.lexsort((generator.random(len(rows)), batch))
    found: Ints = rows[order][np.searchsorted(batch[order], wanted)]
    return found


def _costs(entries: Entries, batch: Ints, count: int, among: Ints | None = None) -> NDArray[np.float64]:
    """Of each batch (of some; the others' are 0): pairs of rows of which one has a text that the other wants, own texts weighted."""
    inside = entries if among is None else entries.take(np.isin(batch[entries.row], among))
    order, group, bad, weights = _groups(inside, batch)
    first = np.flatnonzero(np.diff(group, prepend=-1))
    found = np.bincount(batch[inside.row[order][first]][bad], weights=weights[bad], minlength=count).astype(np.float64)
    return found


def _groups(entries: Entries, batch: Ints) -> tuple[Ints, Ints, Bools, NDArray[np.float64]]:
    """Entries by batch and key: their order, the group of each, and of each group whether it clashes and what it costs."""
    code = batch[entries.row] * (int(entries.key.max(initial=0)) + 1) + entries.key
    order = np.argsort(code, kind="stable")
    group = np.cumsum(np.diff(code[order], prepend=-1) != 0) - 1
    if not len(group):
        nothing = np.empty(0, dtype=np.float64)
        return order, group, nothing > 0, nothing
    wanted, held = entries.wanted[order], entries.held[order]
    wants, holds, owns = (np.bincount(group, weights=which) for which in (wanted, held, wanted & held))
    pairs = wants * holds - owns
    return order, group.astype(np.int64), pairs > 0, pairs + _OWN * owns * (owns - 1)
