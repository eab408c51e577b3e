"""Where a run's partitions are computed: a local Dask cluster, or one that is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from flows.settings import MineSettings
from tasks.runner.runner import Executor, Progress


def cluster(settings: MineSettings, progress: Progress) -> AbstractContextManager[Callable[[], Executor]]:
    """The run's :func:`executors`."""
    return executors(settings.cluster, settings.workers, settings.worker_patience, progress)


@contextmanager
def executors(address: str, workers: int | None, patience: float, progress: Progress) -> Iterator[Callable[[], Executor]]:
    """A function that gives a run's executor, started when the first partition needs it and ended with the run.

    Args:
        address: ``local``, or a Dask scheduler's.
        workers: processes of a local cluster.
        patience: seconds to wait for a worker where there is none.
        progress: is told of such waiting.
    """
    started: list[Any] = []

    def executor() -> Executor:
        if not started:
            from tasks.runner.dask_executor import DaskExecutor

            started.append(DaskExecutor(address, workers, patience, progress.say))
        found: Executor = started[0]
        return found

    try:
        yield executor
    finally:
        for one in started:
            one.close()
