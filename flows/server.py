"""A Prefect server for one run, where none is set up.

Prefect would start one itself, in the run's own process group: Ctrl-C would end the server first, and the run would then
wait for it for ever. This one lives in a group of its own and ends with the run, however that ends.
"""

from __future__ import annotations

import ctypes
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

_PATIENCE = 120.0
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux' prctl


@contextmanager
def prefect_api() -> Iterator[str]:
    """The address of the Prefect server that is set up, or of a temporary one."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    present = PREFECT_API_URL.value()
    if present:
        yield str(present)
        return
    with _server() as address, temporary_settings({PREFECT_API_URL: address}):
        try:
            yield address
        finally:
            _drain()


@contextmanager
def _server() -> Iterator[str]:
    port = _free_port()
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui", "--no-services"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_end_with_parent)
        try:
            address = f"http://127.0.0.1:{port}/api"
            if not _answers(address, process):
                log.seek(0)
                raise HardmineError(
                    f"the temporary Prefect server did not start: {log.read()[-500:].decode(errors='replace')}",
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


def _drain() -> None:
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
