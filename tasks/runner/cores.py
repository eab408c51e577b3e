"""How many cores this process, and this worker, may use."""

from __future__ import annotations

import os


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_cores() -> int:
    """Cores that this worker should use: HARDMINE_WORKER_CORES, or all."""
    return max(1, int(os.environ.get("HARDMINE_WORKER_CORES") or 0) or cores())
