"""What the workers of a Dask cluster are, and whether they can do this run's work."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from functools import partial
from typing import Any

from tasks.errors import HardmineError, StorageError, UsageError
from tasks.runner.release import RELEASE

DEVICE = "GPU"  # the resource that a worker with a GPU declares: dask worker --resources GPU=1
_LOOK = 5.0  # seconds without a result, after which it is looked whether there are workers
_MEND = "give the workers the same image or environment as the run, and start them anew"


def wants_device(workers: dict[str, Any]) -> bool:
    """Whether stages that run a model should be kept to workers with a GPU: some worker declares one.

    Args:
        workers: of ``Client.scheduler_info()``.
    """
    return any(worker.get("resources", {}).get(DEVICE, 0) >= 1 for worker in workers.values())


class Absence:
    """How long no worker has been there that could take a stage's partitions.

    Args:
        address: of the scheduler.
        what: such a worker, in words.
        patience: seconds after which it is too long.
        say: is told when it begins, and when it ends.
        mend: of the error.
    """

    def __init__(self, address: str, what: str, patience: float, say: Callable[[str], None], mend: str) -> None:
        self._cluster, self._what = f"cluster {address}", what
        self._patience, self._say, self._mend = patience, say, mend
        self._since: float | None = None
        #: seconds between two looks
        self.every = min(_LOOK, patience / 2)

    def seen(self, present: bool) -> bool:
        """Take note of a look.

        Args:
            present: whether there was one.

        Returns:
            Whether one has come back.

        Raises:
            StorageError: there has been none for too long.
        """
        now = time.monotonic()
        if present:
            back, self._since = self._since is not None, None
            if back:
                self._say(f"{self._cluster}: there is {self._what} again")
            return back
        if self._since is None:
            self._since = now
            self._say(f"{self._cluster}: there is no longer {self._what}; waiting {self._patience:,.0f} s for one")
        elif now - self._since >= self._patience:
            raise StorageError(f"{self._cluster}: for {self._patience:,.0f} s there has not been {self._what}", self._mend)
        return False


def results(
    futures: Sequence[Any], every: float, look: Callable[[], None], again: Callable[[Any, Exception], Any]
) -> Iterator[tuple[Any, Any]]:
    """Futures with their results, as they end.

    Args:
        futures: of a ``distributed.Client``.
        every: seconds.
        look: is called when so long nothing has come; may raise to end the waiting.
        again: is given a future that failed and its error, and gives another one in its place, or raises.
    """
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for future in futures:
        future.add_done_callback(ended.put)
    left = len(futures)
    while left:
        future = _patiently(partial(ended.get, timeout=every), queue.Empty, look)
        try:
            result = _patiently(partial(_result, future, every), _NotYet, look)
        except (CancelledError, HardmineError):
            raise
        except Exception as error:
            again(future, error).add_done_callback(ended.put)
            continue
        left -= 1
        yield future, result


class _NotYet(Exception):
    """A worker that died took its result along: it is computed again."""


def _result(future: Any, seconds: float) -> Any:
    try:
        return future.result(timeout=seconds)
    except TimeoutError as error:
        if future.status == "error":  # of the stage's own
            return future.result()
        raise _NotYet from error


def _patiently(ask: Callable[[], Any], nothing: type[Exception], look: Callable[[], None]) -> Any:
    while True:
        try:
            return ask()
        except nothing:
            look()


def check_workers(client: Any, address: str) -> None:
    """Fail before any work is sent if a worker has other code than this run.

    Args:
        client: a ``distributed.Client``.
        address: of the scheduler, for the message.

    Raises:
        UsageError: a worker's Python, distributed or hardmine is another than here, or hardmine is not installed there.
    """
    found = client.get_versions()
    distributed = found["client"]["packages"]["distributed"]
    for worker, told in found["workers"].items():
        python = ".".join(told["host"]["python"].split(".")[:2])
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        _same(address, worker, "Python", python, here)  # what follows sends compiled code
        _same(address, worker, "distributed", told["packages"]["distributed"], distributed)

    def release() -> str | None:
        """Sent by value, so that it runs where the project is not installed."""
        import importlib

        try:
            return str(importlib.import_module("tasks.runner.release").RELEASE)
        except ImportError:
            return None

    for worker, present in client.run(release).items():
        if present is None:
            raise UsageError(f"cluster {address}: hardmine is not installed on worker {worker}; this run has {RELEASE}", _MEND)
        _same(address, worker, "hardmine", present, RELEASE)


def _same(address: str, worker: str, what: str, there: str, here: str) -> None:
    if there != here:
        raise UsageError(f"cluster {address}: worker {worker} has {what} {there}, and this run has {what} {here}", _MEND)
