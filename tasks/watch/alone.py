"""One watcher a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tasks.errors import StorageError, UsageError
from tasks.store.lease import EXPIRY, Lease
from tasks.store.storage import Storage


@contextmanager
def only_watcher(storage: Storage, dataset: str, expiry: float = EXPIRY) -> Iterator[Callable[[], None]]:
    """Be the dataset's only watcher while this is open.

    Args:
        storage: the root.
        dataset: whose.
        expiry: seconds after which the place of a watcher that is gone is free.

    Yields:
        A function that raises StorageError once another watcher has taken over.

    Raises:
        UsageError: another one is at work.
    """
    lease = Lease(storage, f"watch/{dataset}", "watch", expiry)
    other = lease.take()
    if other is not None:
        raise UsageError(
            f"another watcher ({other}) is at work on dataset {dataset!r}",
            f"stop it first; if it is gone already, its place is free in {expiry:.0f} s at most",
        )

    def check() -> None:
        if lease.lost is not None:
            raise StorageError(
                f"another watcher ({lease.lost}) took over dataset {dataset!r}", "this one was stopped for too long; let one run"
            )

    try:
        yield check
    finally:
        lease.release()
