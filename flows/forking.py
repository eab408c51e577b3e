"""What a forked child of this process must not do when it ends.

A process in which a flow ran, or an event was sent, has Prefect's queues of log lines and events. Prefect empties them when the process
ends. In a forked child (a DataLoader's worker, above all) it has taken them apart already, its own call at the end fails on that, and the
child exits with 1: torch then calls a worker failed that did all its work. So a child forgets those calls; the parent keeps them.
"""

import os
import sys
import threading
from functools import cache, partial


def _forget_queues() -> None:
    services = sys.modules.get("prefect._internal.concurrency.services")
    queue = getattr(services, "_QueueServiceBase", None)
    if queue is not None:
        calls: list[partial[object]] = getattr(threading, "_threading_atexits", [])
        calls[:] = [call for call in calls if not isinstance(getattr(call.func, "__self__", None), queue)]


@cache  # once a process
def mend_forked_children() -> None:
    """From now on children forked by this process end well, whether or not flows ran in it."""
    os.register_at_fork(after_in_child=_forget_queues)
