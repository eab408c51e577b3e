"""Compute partitions in this process, on threads: for work too small to be worth a cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from tasks.runner.runner import run_job
from tasks.runner.stage import Job, Report, Stage
from tasks.store.manifest import Part


class InlineExecutor:
    """An :class:`tasks.runner.runner.Executor` on threads of this process."""

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._lock = threading.Lock()

    def map(self, root: str, stage: Stage, jobs: Sequence[Job], report: Report) -> Iterator[Part]:
        """See :class:`tasks.runner.runner.Executor`."""

        def locked(units: int) -> None:
            with self._lock:
                report(units)

        with ThreadPoolExecutor(self._threads) as pool:
            futures = [pool.submit(run_job, root, stage, job, locked) for job in jobs]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
