"""Compute partitions on Dask workers: a cluster of this machine, or an existing scheduler.

Only references and counts pass through the scheduler. A worker that dies costs its partition's work: the partition
is tried again on another, and what is committed is found there.
"""

from __future__ import annotations

import logging
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any

from tasks.errors import StorageError
from tasks.runner.cores import check_workers_fit, cores, local_workers
from tasks.runner.runner import MEMORY, run_job
from tasks.runner.stage import Job, Report, Stage
from tasks.runner.workers import DEVICE, Absence, check_workers, results, wants_device
from tasks.store.manifest import Part

_LOG = logging.getLogger(__name__)
_TOPIC = "hardmine-progress"
_PATIENCE = 300.0  # seconds
_KEPT = "finished partitions are kept"
_SETTING = "worker_patience says how long a run waits"
_DIED = f"most often memory ran out: {MEMORY}"


class DaskExecutor:
    """An :class:`tasks.runner.runner.Executor` on Dask.

    Args:
        cluster: ``local``, or a scheduler's address (``tcp://host:port``).
        workers: processes of a local cluster; ``None``: by its cores and memory, see :func:`tasks.runner.cores.local_workers`.
        patience: seconds to wait for a worker where there is none: at the start, and when all have gone.
        say: is told of such waiting.

    Raises:
        StorageError: no scheduler answers there, or it has no worker.
        UsageError: its workers have other code than this run, or there is no memory for so many processes.
    """

    def __init__(
        self, cluster: str = "local", workers: int | None = None, patience: float = _PATIENCE, say: Callable[[str], None] = _LOG.warning
    ) -> None:
        import dask
        from distributed import Client, LocalCluster

        dask.config.set({"distributed.worker.daemon": True, "distributed.admin.log-format": "%(message)s"})
        self._cluster: Any = None
        self._address, self._patience, self._say = cluster, patience, say
        self._checked: set[str] = set()
        if cluster == "local":
            from distributed.system import MEMORY_LIMIT  # the container's, where it has one

            count = workers or local_workers(cores(), MEMORY_LIMIT)
            check_workers_fit(count, MEMORY_LIMIT)
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
            try:
                self._await_worker()
                self._examine()
            except BaseException:
                self.close()
                raise

    def map(self, root: str, stage: Stage, jobs: Sequence[Job], report: Report) -> Iterator[Part]:
        """See :class:`tasks.runner.runner.Executor`. Stages that run a model go to workers with a GPU, where some declare one.

        A partition on which workers die is tried again in smaller pieces, where its stage can do so: most often memory ran out.

        Raises:
            StorageError: the workers that computed a partition died, one after the other; there is no worker for longer than the
                run has patience; or the scheduler is gone. What is committed stays.
        """
        from distributed.client import ClosedClientError

        token = uuid.uuid4().hex  # other runs on this scheduler tell the same topic
        work: dict[str, tuple[Any, Job]] = {}  # futures and what they do, by key
        try:
            if self._cluster is None:
                self._await_worker()
            resources = {DEVICE: 1} if stage.model and wants_device(self._examine()) else None
            absence = self._absence(stage, resources is not None)
            self._client.subscribe_topic(_TOPIC, lambda event: report(int(event[1]["units"])) if event[1]["token"] == token else None)

            def send(some: Sequence[Job]) -> list[Any]:
                futures: list[Any] = self._client.map(
                    _run_on_worker, some, root=root, stage=stage, token=token, pure=False, key=stage.name, resources=resources
                )
                work.update({future.key: (future, job) for future, job in zip(futures, some, strict=True)})
                return futures

            def again(future: Any, error: Exception) -> Any:
                return send([self._smaller(stage, work.pop(future.key)[1], error)])[0]

            for future, part in results(send(jobs), absence.every, lambda: self._look(absence, resources is not None), again):
                self._note(absence, True)
                future.release()
                yield Part.model_validate_json(part)
        except (CancelledError, ClosedClientError) as error:
            raise StorageError(
                f"stage {stage.name}: the Dask scheduler of cluster {self._address} is gone",
                f"start it and its workers, and run again; {_KEPT}",
            ) from error
        finally:
            with suppress(ClosedClientError):
                self._client.cancel([future for future, _ in work.values()])
                self._client.unsubscribe_topic(_TOPIC)

    def _smaller(self, stage: Stage, job: Job, error: Exception) -> Job:
        """What to try after a failure: the partition in smaller pieces, if its workers died.

        Raises:
            StorageError: they died, and there are no smaller pieces.
            Exception: it was another failure.
        """
        from distributed import KilledWorker

        if not isinstance(error, KilledWorker):
            raise error
        smaller, deaths = job.smaller(stage), error.allowed_failures + 1
        if smaller is None:
            raise StorageError(f"stage {stage.name}, partition {job.index}: {deaths} workers died on it", _DIED) from error
        self._say(f"stage {stage.name}, partition {job.index}: {deaths} workers died on it; once more in {smaller.pieces} pieces")
        return smaller

    def _absence(self, stage: Stage, with_device: bool) -> Absence:
        what = f"a worker{' with a GPU' if with_device else ''} for stage {stage.name}"
        mend = _DIED if self._cluster is not None else f"start workers (dask worker {self._address}) and run again; {_KEPT}; {_SETTING}"
        return Absence(self._address, what, self._patience, self._say, mend)

    def _look(self, absence: Absence, with_device: bool) -> None:
        """Whether there is a worker for what is left; those that have come are checked."""
        if self._client.status == "closed":
            raise CancelledError
        workers = self._known()
        self._note(absence, wants_device(workers) if with_device else bool(workers))

    def _note(self, absence: Absence, present: bool) -> None:
        if absence.seen(present):
            self._examine()

    def _known(self) -> dict[str, Any]:
        """The workers that the scheduler told of, by address; none while it is away."""
        return dict(self._client.scheduler_info().get("workers", {}))

    def _examine(self) -> dict[str, Any]:
        """The workers that are there; those of a shared scheduler are checked when they are first seen."""
        workers = self._known()
        if self._cluster is None and set(workers) - self._checked:
            check_workers(self._client, self._address)
            self._checked |= set(workers)
        return workers

    def _await_worker(self) -> None:
        if self._known():
            return
        self._say(f"cluster {self._address} has no workers: waiting {self._patience:,.0f} s for the first")
        try:
            self._client.wait_for_workers(1, timeout=self._patience)
        except TimeoutError as error:
            raise StorageError(
                f"cluster {self._address}: the Dask scheduler has no worker, after {self._patience:,.0f} s",
                f"start one (dask worker {self._address}), look into the workers' logs, or set cluster: local; {_SETTING}",
            ) from error

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


def _run_on_worker(job: Job, root: str, stage: Stage, token: str) -> str:
    from distributed import get_worker

    worker = get_worker()

    def report(units: int) -> None:
        worker.log_event(_TOPIC, {"token": token, "units": units})

    return run_job(root, stage, job, report).model_dump_json()
