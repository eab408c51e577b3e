"""A server, its pages and all flows from one process: what ``hardmine serve`` runs."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import http.server
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.deployed.artifacts import REPORTS_ROOT, REPORTS_URL
from flows.deployed.deploying import deploy, prepared
from flows.deployed.ending import cancel_runs, reap, settle_runs
from flows.deployed.place import ROOT
from flows.server import browsed, free_port, is_free, pages_api, server
from tasks.errors import UsageError

_ADOPT = 36  # PR_SET_CHILD_SUBREAPER of Linux' prctl: processes whose parent died come to us
_POLL = 1.0  # seconds
_REAP = 15.0


def serve(host: str, port: int, root: str, announce: Callable[[str], None]) -> None:
    """Serve all deployments until Ctrl-C; then nothing of it is left running, and its runs are cancelled.

    Runs of an earlier one that was killed are settled first, unless the server is one that others may serve too.

    Args:
        host: where the server listens, if PREFECT_API_URL does not name one that is there.
        port: of it.
        root: what the forms fill in.
        announce: is told the address of the pages when all is ready.

    Raises:
        UsageError: the port is taken.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_ADOPT, 1)
    own = not os.environ.get("PREFECT_API_URL")
    try:
        with _api(host, port) as address, _reports(host, root), temporary_settings({PREFECT_API_URL: address}):
            os.environ["PREFECT_API_URL"] = address
            os.environ[ROOT] = root
            deploy(root)
            shown = pages_api(host, port) if own else address
            asyncio.run(_run(root, own, lambda: announce(shown.removesuffix("/api"))))
    except asyncio.CancelledError:  # SIGTERM
        raise KeyboardInterrupt from None
    finally:
        _end_children()


class _Runner(Runner):
    end_serving: Callable[[], object]

    def handle_sigterm(self, *_: Any, **__: Any) -> None:
        """Stops as on Ctrl-C, also where that is ignored, as in a shell's background job."""
        self.end_serving()


async def _run(root: str, own: bool, ready: Callable[[], None]) -> None:
    """Poll for runs that are due, each in a process of its own."""
    runner = _Runner(name="hardmine", pause_on_shutdown=False, limit=None, query_seconds=_POLL)
    serving = asyncio.current_task()
    assert serving is not None
    runner.end_serving = functools.partial(asyncio.get_running_loop().call_soon_threadsafe, serving.cancel)
    served = [await runner.aadd_deployment(deployment) for deployment in await asyncio.to_thread(prepared, root)]
    if own:
        await asyncio.to_thread(settle_runs, served)
    ready()
    polling, reaping = asyncio.create_task(runner.start()), asyncio.create_task(_reap())
    try:
        await asyncio.shield(polling)
    except asyncio.CancelledError:  # Ctrl-C or SIGTERM; a runner that is cancelled kills its runs without a word to the server
        try:
            await asyncio.to_thread(cancel_runs)
        finally:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
            reaping.cancel()
        if own:
            await asyncio.to_thread(settle_runs, served)  # what became due meanwhile
        raise


async def _reap() -> None:
    seen: set[int] = set()
    while True:
        await asyncio.sleep(_REAP)
        seen = await asyncio.to_thread(reap, seen)


@contextmanager
def _api(host: str, port: int) -> Iterator[str]:
    present = os.environ.get("PREFECT_API_URL")
    if present:
        yield present
        return
    if not is_free(host, port):
        raise UsageError(
            f"port {port} of {host} is taken", "give another one with --port, or set PREFECT_API_URL to the server that is there"
        )
    with server(host, port, pages=True) as address:
        yield address


@contextmanager
def _reports(host: str, root: str) -> Iterator[None]:
    """Pages of a local root's reports, so that a browser may follow links to them."""
    if "://" in root:
        yield
        return
    folder = Path(root) / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    if os.environ.get(REPORTS_URL):  # somebody else serves them
        os.environ[REPORTS_ROOT] = root
        yield
        return
    port = free_port()
    with http.server.ThreadingHTTPServer((host, port), functools.partial(_Pages, directory=str(folder))) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True, name="reports").start()
        os.environ[REPORTS_URL], os.environ[REPORTS_ROOT] = f"http://{browsed(host)}:{port}", root
        try:
            yield
        finally:
            pages.shutdown()


class _Pages(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


def _end_children() -> None:
    """End what runs have left behind."""
    left = psutil.Process().children(recursive=True)
    for process in left:
        with _gone():
            process.terminate()
    for process in psutil.wait_procs(left, timeout=5)[1]:
        with _gone():
            process.kill()
    psutil.wait_procs(left, timeout=5)


@contextmanager
def _gone() -> Iterator[None]:
    try:
        yield
    except psutil.NoSuchProcess:
        return
