"""What the workers of a Dask cluster are, and whether they can do this run's work."""

from __future__ import annotations

import sys
from typing import Any

from tasks.errors import UsageError
from tasks.runner.release import RELEASE

DEVICE = "GPU"  # the resource that a worker with a GPU declares: dask worker --resources GPU=1
_MEND = "give the workers the same image or environment as the run, and start them anew"


def wants_device(workers: dict[str, Any]) -> bool:
    """Whether stages that run a model should be kept to workers with a GPU: some worker declares one.

    Args:
        workers: of ``Client.scheduler_info()``.
    """
    return any(worker.get("resources", {}).get(DEVICE, 0) >= 1 for worker in workers.values())


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
