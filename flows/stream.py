"""Training rows of the newest published round, as torch's DataLoader and trainers over it take them.

from flows.stream import RoundStream

stream = RoundStream("s3://bucket/mining", "cranfield", "n-tuple", seed=0)
loader = torch.utils.data.DataLoader(stream, batch_size=32, num_workers=2, collate_fn=...)
for epoch in range(3):
    stream.set_epoch(epoch)      # looks at the pointer, too
    for batch in loader: ...
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from flows.board import Board
from flows.forking import mend_forked_children
from flows.pointed import Pointed, pointed, pointed_again
from tasks.errors import UsageError
from tasks.models.iterable import IterableRows, Row, State, agreed, in_loading_worker, rank_and_ranks
from tasks.store.storage import open_storage
from tasks.stream.files import Block, blocks_of, read_rows
from tasks.stream.order import Reader, Tail, batches_by_worker, pieces, rows_of_rank, rows_of_reader


class RoundStream(IterableRows):
    """Rows of one format of the round that the dataset's pointer names, shared out to ranks and a loader's workers.

    Which round it is, is settled when the stream is made and at each :meth:`set_epoch`, on rank 0 for all ranks of torch's default group:
    no two readers of an epoch read different rounds. Iterated again without it and without loading workers, a stream takes the next epoch.
    A loader's workers that stay (``persistent_workers``) learn of it, and of a loaded state, when they begin the loader's next epoch.

    Args:
        root: a folder, or s3://bucket/prefix.
        dataset: whose round; none: of the only dataset.
        format_name: a format of rows.
        stage: a curriculum's training stage, as its folder is called after ``data-``; empty: the main one.
        rank: of this process; none: torch.distributed's, RANK, or 0.
        ranks: how many there are; none: torch.distributed's, WORLD_SIZE, or 1.
        tail: how rows that do not go round are shared, see :func:`tasks.stream.order.rows_of_rank`.
        seed: of the rows' order, another one each epoch; none: the files' order, which is that of the queries' hashes.

    Raises:
        UsageError: there is no round, it has no such format, or the format is no table of rows.
    """

    def __init__(
        self,
        root: str,
        dataset: str | None = None,
        format_name: str = "triplet",
        *,
        stage: str = "",
        rank: int | None = None,
        ranks: int | None = None,
        tail: Tail = "repeat",
        seed: int | None = None,
    ) -> None:
        mend_forked_children()
        super().__init__(self._rows)
        self._root, self._dataset, self._format, self._stage = root, dataset, format_name, stage
        self._tail, self._seed = tail, seed
        own, all_ranks = _place(rank, ranks)
        self._reader = Reader(own, all_ranks)
        self._state: State | None = None  # to go on from
        self._settled = False  # whether what comes next was settled, and not yet read
        self._given = 0
        self._board, self._heard = Board(self), 0
        self.set_epoch(0)

    @property
    def round(self) -> int:
        """The number of the round that is read."""
        return self._pointed.round

    @property
    def epoch(self) -> int:
        """The epoch that is read."""
        return self._epoch

    def __len__(self) -> int:
        """Rows of this rank in an epoch."""
        start, stop = rows_of_rank(self._pointed.rows, self._reader.ranks, self._reader.rank, self._tail)
        return stop - start

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch: read the newest round from now on. Of the epoch that a loaded state goes on with, nothing changes."""
        if self._state is not None and self._state["epoch"] == epoch:
            return
        self._settle(agreed(lambda: pointed(open_storage(self._root), self._dataset, self._format, self._stage).as_state()), epoch, None)

    def state_dict(self, batches: int | None = None, batch_size: int = 1, drop_last: bool = False) -> State:
        """Where the stream is: the round, the epoch, how the rows are shared out, and how many of them this reader has given.

        Args:
            batches: that a loader with workers has given, whose reading in advance is not seen from here.
            batch_size: of that loader.
            drop_last: of that loader.
        """
        where = {**self._pointed.as_state(), **self._sharing, "epoch": self._epoch}
        if batches is None:
            return {**where, "given": self._given}
        return {**where, "batches": batches, "batch_size": batch_size, "drop_last": drop_last}

    def load_state_dict(self, state: State) -> None:
        """Go on where a state was taken, in the same round, even if there is a newer one: it comes with the next epoch.

        Raises:
            UsageError: the round is of another dataset or format, or is no longer there; or rows were shared out otherwise, so that the
                number of those that were given says nothing here.
        """
        found = pointed_again(open_storage(self._root), state)
        if (found.format, found.stage) != (self._format, self._stage) or self._dataset not in (None, found.dataset):
            raise UsageError(
                f"the state is of {found.dataset!r}, format {found.format!r}, stage {found.stage!r}",
                "load it into a stream of the same ones",
            )
        for name, own in self._sharing.items():
            if state.get(name, own) != own:
                raise UsageError(
                    f"the state was taken with {name} {state[name]}, and this stream has {name} {own}: its rows are others",
                    f"load it into a stream with {name} {state[name]}, or begin the epoch anew",
                )
        self._settle(found.as_state(), int(state["epoch"]), dict(state))

    @property
    def _sharing(self) -> State:
        """What decides, beside the round, the epoch and the rank, which rows come when."""
        return {"seed": self._seed, "tail": self._tail, "ranks": self._reader.ranks}

    def _settle(self, state: State | None, epoch: int, going_on: State | None) -> None:
        assert state is not None
        if not in_loading_worker():
            self._heard = self._board.tell(self, {"state": state, "epoch": epoch, "going_on": going_on})
        self._take(state, epoch, going_on)

    def _listen(self) -> None:
        """In a loader's worker that begins another epoch: take what the stream in the training process was set to meanwhile."""
        number, told = self._board.told()
        if number != self._heard:
            self._heard = number
            self._take(told["state"], int(told["epoch"]), told["going_on"])

    def _take(self, state: State, epoch: int, going_on: State | None) -> None:
        self._pointed, self._epoch, self._state = Pointed.of_state(state), epoch, going_on
        self._blocks: list[Block] = blocks_of(self._pointed.files)
        self._given = int((going_on or {}).get("given", 0))
        self._settled = True

    def _rows(self, worker: int, workers: int) -> Iterator[Row]:
        if not self._settled and in_loading_worker():
            self._listen()
        elif not self._settled:
            self.set_epoch(self._epoch + 1)
        self._settled = False
        start, stop = rows_of_reader(self._pointed.rows, self._at(worker, workers), self._tail)
        self._given = self._taken(worker, workers)
        self._state = None
        storage, shuffle = open_storage(self._root), None if self._seed is None else (self._seed, self._epoch)
        for block, rows in pieces([one.rows for one in self._blocks], start + self._given, stop, shuffle):
            for row in read_rows(storage, self._blocks[block], rows):
                self._given += 1
                yield row

    def _at(self, worker: int, workers: int) -> Reader:
        return Reader(self._reader.rank, self._reader.ranks, worker, workers)

    def _taken(self, worker: int, workers: int) -> int:
        """Rows that a worker has given before, by the loaded state."""
        if self._state is None or "batches" not in self._state:
            return int((self._state or {}).get("given", 0))
        ranges = [rows_of_reader(self._pointed.rows, self._at(each, workers), self._tail) for each in range(workers)]
        sizes, size = [stop - start for start, stop in ranges], int(self._state["batch_size"])
        taken = batches_by_worker(int(self._state["batches"]), sizes, size, bool(self._state["drop_last"]))
        return min(taken[worker] * size, sizes[worker])


def _place(rank: int | None, ranks: int | None) -> tuple[int, int]:
    found = rank_and_ranks()
    if found[1] == 1:
        found = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    return found[0] if rank is None else rank, found[1] if ranks is None else ranks


def as_datasets(root: str, dataset: str | None = None, format_name: str = "triplet", *, stage: str = "", number: int | None = None) -> Any:
    """The same rows as a streamed ``datasets.IterableDataset``: one shard a file, fetched when it is read.

    ``datasets``' own functions divide and resume it: ``split_dataset_by_node``, ``state_dict``, ``shuffle``. Its state does not say of
    which round it is: keep the number beside it, and give it as ``number`` when the state is loaded.

    Args:
        root: as for :class:`RoundStream`.
        dataset: likewise.
        format_name: likewise.
        stage: likewise.
        number: of a round; none: the newest.

    Returns:
        (the dataset, the round's number).
    """
    from flows.stream_datasets import stream

    mend_forked_children()
    found = pointed(open_storage(root), dataset, format_name, stage, number)
    return stream(root, found), found.round
