"""Prefect servers that end with the process that started them.

For one run, where none is set up: Prefect would start one itself, in the run's own process group; Ctrl-C would end the server first,
and the run would then wait for it for ever. And for ``hardmine serve``, with its pages.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.errors import HardmineError

_PATIENCE = 300.0
#: where a server that may be restarted keeps who holds a place in a limit
LEASES = "prefect.server.concurrency.lease_storage.filesystem"
_ALL = ("", "0.0.0.0")  # listens on all addresses, and is none that a browser could ask
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux' prctl


@contextmanager
def prefect_api() -> Iterator[str]:
    """The address of the Prefect server that is set up, or of a temporary one."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    present = PREFECT_API_URL.value()
    if present:
        yield str(present)
        return
    with server("127.0.0.1", free_port(), pages=False) as address, temporary_settings({PREFECT_API_URL: address}):
        try:
            yield address
        finally:
            drain()


@contextmanager
def server(host: str, port: int, pages: bool) -> Iterator[str]:
    """A Prefect server in a process of its own, which ends with this one, however that ends.

    Args:
        host: to listen on.
        port: a free one.
        pages: with the UI and the services behind schedules and automations; its pages are told the address of ``pages_api``.

    Yields:
        The address of its API.

    Raises:
        HardmineError: it does not start.
    """
    address = f"http://{'127.0.0.1' if host in _ALL else host}:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]
    command += [] if pages else ["--no-ui", "--no-services"]
    environment = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", **os.environ}
    if pages:
        environment["PREFECT_UI_API_URL"] = pages_api(host, port)
        # leases outlive a restart as the slots do that they are for; in memory they would not, and the slots stay taken for ever
        environment.setdefault("PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE", LEASES)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, process_group=0, preexec_fn=_end_with_parent
        )
        try:
            if not _answers(address, process):
                log.seek(0)
                raise HardmineError(
                    f"the Prefect server did not start: {log.read()[-500:].decode(errors='replace')}",
                    "start one with `prefect server start` and set PREFECT_API_URL",
                )
            yield address
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def browsed(host: str) -> str:
    """The name by which a browser reaches what listens on a host: this machine's, where that means all addresses."""
    return (socket.gethostname() or "127.0.0.1") if host in _ALL else host


def pages_api(host: str, port: int) -> str:
    """The address at which a browser's pages ask the server: PREFECT_UI_API_URL if it is set."""
    given = os.environ.get("PREFECT_UI_API_URL") or os.environ.get("PREFECT_SERVER_UI_API_URL")
    return given or f"http://{browsed(host)}:{port}/api"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Whether a server can listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def drain() -> None:
    """Let Prefect hand over its last events and logs while the server is still there."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=5)


def _answers(address: str, process: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return True
        except OSError:
            time.sleep(0.1)
    return False


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
