"""How many cores this process, and this worker, may use."""

from __future__ import annotations

import os

from tasks.errors import UsageError

_CORES = 8
_MEMORY = 4 << 30  # bytes
_LEAST_MEMORY = 1 << 30  # bytes: under this a process that loads a model dies


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_cores() -> int:
    """Cores that this worker should use: HARDMINE_WORKER_CORES, or all."""
    return max(1, int(os.environ.get("HARDMINE_WORKER_CORES") or 0) or cores())


def local_workers(cores: int, memory: int) -> int:
    """Processes of a local cluster: one for every eight cores, and no more than one for every four gigabytes; at least one.

    A process that runs a model holds torch, the model and a partition, and takes its partitions one at a time.

    Args:
        cores: that may be used.
        memory: bytes that may be used.

    >>> local_workers(32, 64 << 30), local_workers(32, 8 << 30), local_workers(2, 1 << 30)
    (4, 2, 1)
    """
    return max(1, min(cores // _CORES, memory // _MEMORY))


def check_workers_fit(workers: int, memory: int) -> None:
    """Refuse more processes of a local cluster than there is memory for: 1 GiB each. One is never refused.

    Args:
        workers: processes that are asked for.
        memory: bytes that they share.

    Raises:
        UsageError: that names how many fit.
    """
    fit = max(1, memory // _LEAST_MEMORY)
    if workers > fit:
        each = memory / workers / (1 << 20)
        raise UsageError(
            f"workers: {workers} would have {each:,.0f} MiB of memory each, and each needs 1024", f"set workers to {fit} or fewer"
        )
