"""How many cores this process, and this worker, may use."""

from __future__ import annotations

import os

_CORES = 8
_MEMORY = 4 << 30  # bytes


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
