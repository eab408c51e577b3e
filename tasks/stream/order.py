"""Which rows of a round a reader is given, and in which order. Arithmetic only; no file is touched here.

The rows of an epoch have places 0 … n - 1. Ranks take stretches of the places, workers of a rank stretches of its own. Without a seed
the places are the files' order, which is that of the queries' hashes; with one, blocks of rows are shuffled, and the rows within each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Tail = Literal["repeat", "drop", "keep"]


@dataclass(frozen=True)
class Reader:
    """One of several processes that read a round together.

    Args:
        rank: of the training process, from 0.
        ranks: how many there are.
        worker: of the process' own loading workers, from 0.
        workers: how many it has.
    """

    rank: int = 0
    ranks: int = 1
    worker: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.rank < self.ranks and 0 <= self.worker < self.workers):
            raise ValueError(f"rank {self.rank} of {self.ranks}, worker {self.worker} of {self.workers}: both count from 0")


def rows_of_rank(rows: int, ranks: int, rank: int, tail: Tail) -> tuple[int, int]:
    """The places of a rank: from, to. Past the last place it goes on at the first one.

    Args:
        rows: of the round.
        ranks: how many share them.
        rank: whose places.
        tail: what becomes of rows that do not go round. repeat: some are read twice, so that all ranks have equally many, as torch's
            DistributedSampler does; drop: the last ones are left out; keep: some ranks have one row more.

    >>> [rows_of_rank(10, 4, rank, "repeat") for rank in range(4)]
    [(0, 3), (3, 6), (6, 9), (9, 12)]
    >>> [rows_of_rank(10, 4, rank, "keep") for rank in range(4)]
    [(0, 2), (2, 5), (5, 7), (7, 10)]
    """
    if tail == "keep":
        return rows * rank // ranks, rows * (rank + 1) // ranks
    each = rows // ranks if tail == "drop" else -(-rows // ranks)
    return each * rank, each * (rank + 1)


def rows_of_reader(rows: int, reader: Reader, tail: Tail) -> tuple[int, int]:
    """The places of one worker of a rank: from, to; together they are the rank's."""
    start, stop = rows_of_rank(rows, reader.ranks, reader.rank, tail)
    size = stop - start
    return start + size * reader.worker // reader.workers, start + size * (reader.worker + 1) // reader.workers


def batches_by_worker(batches: int, sizes: Sequence[int], batch_size: int, drop_last: bool) -> list[int]:
    """How many of a loader's first batches came from each of its workers, which it asks in turn, passing over those that are done.

    Args:
        batches: that the loader gave.
        sizes: rows of each worker; they differ by one at most.
        batch_size: of the loader.
        drop_last: whether workers leave out their last, short batch.

    >>> batches_by_worker(5, [4, 3, 4], 3, drop_last=False)
    [2, 1, 2]
    """
    have = [size // batch_size if drop_last else -(-size // batch_size) for size in sizes]
    rounds = min(batches // len(sizes), *have)
    taken, left = [rounds] * len(sizes), batches - rounds * len(sizes)
    for worker in range(len(sizes)):
        if left and taken[worker] < have[worker]:
            taken[worker], left = taken[worker] + 1, left - 1
    return taken


def pieces(sizes: Sequence[int], start: int, stop: int, shuffle: tuple[int, int] | None = None) -> Iterator[tuple[int, Ints]]:
    """The rows on some places: pieces of (block, row numbers within it), in order.

    Args:
        sizes: rows of each block; a block is what is read at once.
        start: first place.
        stop: place behind the last one; beyond the last row it goes on at the first.
        shuffle: (seed, epoch); none: the blocks' own order.
    """
    total = sum(sizes)
    while start < stop and total:
        begin = start % total
        end = min(total, begin + stop - start)
        yield from _stretch(sizes, begin, end, shuffle)
        start += end - begin


def _stretch(sizes: Sequence[int], start: int, stop: int, shuffle: tuple[int, int] | None) -> Iterator[tuple[int, Ints]]:
    order = np.arange(len(sizes)) if shuffle is None else np.random.default_rng(shuffle).permutation(len(sizes))
    ends = np.cumsum(np.asarray(sizes, np.int64)[order])
    for turn in range(int(np.searchsorted(ends, start, side="right")), len(order)):
        block, first = int(order[turn]), int(ends[turn] - sizes[order[turn]])
        if first >= stop:
            return
        rows = np.arange(sizes[block]) if shuffle is None else np.random.default_rng((*shuffle, block)).permutation(sizes[block])
        taken = rows[max(start - first, 0) : stop - first]
        if len(taken):
            yield block, taken.astype(np.int64)
