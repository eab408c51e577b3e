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
        pages: with the UI and the services behind schedules and automations; its pages are told this server's address.

    Yields:
        The address of its API.

    Raises:
        HardmineError: it does not start.
    """
    address = f"http://{host}:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]
    command += [] if pages else ["--no-ui", "--no-services"]
    environment = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", **os.environ}
    if pages:
        environment["PREFECT_UI_API_URL"] = address
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
