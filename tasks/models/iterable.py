"""A round's rows as a dataset of torch: what torch's own DataLoader, and trainers over it, take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch.distributed
from torch.utils.data import IterableDataset, get_worker_info

Row = dict[str, Any]
State = dict[str, Any]


class IterableRows(IterableDataset[Row]):  # type: ignore[misc]
    """Rows that a function gives, from where it is told to.

    Args:
        read: gets (worker, workers) of the loader and gives the rows.
    """

    def __init__(self, read: Callable[[int, int], Iterator[Row]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[Row]:
        """The rows of this worker."""
        info = get_worker_info()
        return self._read(*((0, 1) if info is None else (info.id, info.num_workers)))


def in_loading_worker() -> bool:
    """Whether this process is a worker of torch's DataLoader."""
    return get_worker_info() is not None


def rank_and_ranks() -> tuple[int, int]:
    """Of this process in torch's default group; (0, 1) outside of one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def agreed(make: Callable[[], State | None]) -> State | None:
    """What rank 0 makes, on all ranks of torch's default group; outside of one, what is made here."""
    if rank_and_ranks()[1] == 1:
        return make()
    held = [make() if rank_and_ranks()[0] == 0 else None]
    torch.distributed.broadcast_object_list(held, src=0)
    return held[0]
