"""Compute partitions on Dask workers: a cluster of this machine, or an existing scheduler.

Only references and counts pass through the scheduler. A worker that dies costs its partition's work: the partition
is tried again on another, and what is committed is found there.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tasks.errors import StorageError
from tasks.runner.cores import cores, local_workers
from tasks.runner.runner import run_job
from tasks.runner.stage import Job, Report, Stage
from tasks.runner.workers import DEVICE, check_workers, wants_device
from tasks.store.manifest import Part

_TOPIC = "hardmine-progress"


class DaskExecutor:
    """An :class:`tasks.runner.runner.Executor` on Dask.

    Args:
        cluster: ``local``, or a scheduler's address (``tcp://host:port``).
        workers: processes of a local cluster; ``None``: by its cores and memory, see :func:`tasks.runner.cores.local_workers`.

    Raises:
        StorageError: no scheduler answers there.
        UsageError: its workers have other code than this run.
    """

    def __init__(self, cluster: str = "local", workers: int | None = None) -> None:
        import dask
        from distributed import Client, LocalCluster

        dask.config.set({"distributed.worker.daemon": True, "distributed.admin.log-format": "%(message)s"})
        self._cluster: Any = None
        self._address = cluster
        self._checked: set[str] = set()
        if cluster == "local":
            from distributed.system import MEMORY_LIMIT  # the container's, where it has one

            count = workers or local_workers(cores(), MEMORY_LIMIT)
            dask.config.set({"distributed.worker.memory.pause": False})  # nothing could be spilled: a paused worker stays paused
            with _interrupts_ignored():
                self._cluster = LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",
                    scheduler_kwargs={"dashboard": False},
                    silence_logs=logging.CRITICAL,
                    memory_limit=MEMORY_LIMIT // count,
                    env={"HARDMINE_WORKER_CORES": str(max(1, cores() // count))},
                )
            self._client = Client(self._cluster)
        else:
            try:
                self._client = Client(cluster, timeout="20s")
            except (OSError, TimeoutError) as error:
                raise StorageError(f"cluster {cluster}: no Dask scheduler answers there", "start one, or set cluster: local") from error
            self._examine()

    def map(self, root: str, stage: Stage, jobs: Sequence[Job], report: Report) -> Iterator[Part]:
        """See :class:`tasks.runner.runner.Executor`. Stages that run a model go to workers with a GPU, where some declare one."""
        from distributed import as_completed

        resources = {DEVICE: 1} if stage.model and wants_device(self._examine()) else None
        self._client.subscribe_topic(_TOPIC, lambda event: report(int(event[1]["units"])) if event[1]["stage"] == stage.name else None)
        futures = self._client.map(_run_on_worker, jobs, root=root, stage=stage, pure=False, key=stage.name, resources=resources)
        try:
            for future in as_completed(futures):
                part = future.result()
                future.release()
                yield Part.model_validate_json(part)
        finally:
            self._client.cancel(futures)
            self._client.unsubscribe_topic(_TOPIC)

    def _examine(self) -> dict[str, Any]:
        """The workers that are there; those of a shared scheduler are checked when they are first seen."""
        workers: dict[str, Any] = self._client.scheduler_info()["workers"]
        if self._cluster is None and set(workers) - self._checked:
            check_workers(self._client, self._address)
            self._checked |= set(workers)
        return workers

    def close(self) -> None:
        """End the workers of a local cluster; leave a shared scheduler as it is."""
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Children started meanwhile ignore Ctrl-C: the run that started them ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _run_on_worker(job: Job, root: str, stage: Stage) -> str:
    from distributed import get_worker

    worker = get_worker()

    def report(units: int) -> None:
        worker.log_event(_TOPIC, {"stage": stage.name, "units": units})

    return run_job(root, stage, job, report).model_dump_json()
