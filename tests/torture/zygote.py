"""A process that has loaded everything, and does the work in children of its own: one is killed in half a second instead of ten.

    python -m tests.torture.zygote

One request a line on standard input, JSON; one answer a line: {"code": exit code or −signal, "commits": names, "found": result or null}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import psutil
from pydantic import BaseModel

import flows.review
import flows.training  # noqa: F401  # so that no child loads them
from tasks.models import cross_encoder, embedder, trainer, training  # noqa: F401
from tasks.store.keys import file_checksum
from tasks.store.local import LocalStorage
from tests.torture.disks import Disk, faulty_files, own_mounts, read_only, small_disk
from tests.torture.work import work


class Request(BaseModel):
    """One child's work, and its end.

    It is killed at the n-th file that becomes visible (before or after it does), at the first that was not in its root yet, or after so
    many seconds of CPU, which do not depend on what else the machine does. With a ``disk`` that fails it runs twice: first on that one,
    then on a sound one.

    ``room``: bytes of one that is full; ``share``, ``seed``: of the openings that fail.
    """

    folder: Path
    root: str
    scratch: Path
    log: Path
    at: int | None = None
    when: Literal["before", "after"] = "before"
    fresh: bool = False
    cpu: float | None = None
    disk: Disk | None = None
    room: int = 0
    share: float = 0.0
    seed: int = 0
    environment: dict[str, str] = {}


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _is_new(seen: Path, name: str, local: Path) -> bool:
    """Whether a name, or a pointer's content, was never put before; writes it down."""
    if name.startswith("audit/"):  # the same snapshot has other bytes each time
        name = name.rpartition("-")[0]
    mark = f"{name} {file_checksum(local) if name.startswith('pointers/') else ''}\n"
    known = seen.read_text() if seen.exists() else ""
    if mark in known:
        return False
    seen.write_text(known + mark)
    return True


def _armed(request: Request) -> None:
    """Write down each file that becomes visible, and end where it was asked for."""
    seen = 0
    put = LocalStorage.put_file

    def counted(self: LocalStorage, name: str, local: Path) -> None:
        nonlocal seen
        fresh = request.fresh and not name.startswith("leases/") and _is_new(Path(f"{request.root}.seen"), name, local)
        seen += 1
        if seen == request.at and request.when == "before":
            _die()
        put(self, name, local)
        with request.log.open("a") as log:
            log.write(name + "\n")
        if seen == request.at or fresh:
            _die()

    LocalStorage.put_file = counted  # type: ignore[method-assign]


def _child(request: Request) -> None:
    try:
        os.environ.update(request.environment)
        _armed(request)
        found = work(request.folder, request.root, request.scratch)
        request.log.with_suffix(".json").write_text(json.dumps(found))
        sys.stdout.flush()
        os._exit(0)
    except BaseException:
        request.log.with_suffix(".error").write_text(traceback.format_exc())
        os._exit(1)


def _status(pid: int, cpu: float | None) -> int:
    """How the child ended; it is killed after so many seconds of CPU."""
    while cpu is not None:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        times = psutil.Process(pid).cpu_times()
        if times.user + times.system >= cpu:
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.002)
    return os.waitpid(pid, 0)[1]


def _on_a_bad_disk(request: Request) -> None:
    """Two runs: the first one's exit code goes to ``log.first``, its error to ``first.error``; this process ends as the second does."""
    root, first = Path(request.root), request.log.with_suffix(".first")
    own = request.log.with_name("first")
    mend: Callable[[], None] = lambda: None  # noqa: E731
    try:
        if request.disk in ("full", "read-only"):
            own_mounts()
            mend = small_disk(root, request.room) if request.disk == "full" else read_only(root)
    except OSError as error:
        first.write_text(f"skip: {error}")
        os._exit(0)
    first.write_text(str(_forked(request.model_copy(update={"log": own, "scratch": request.scratch.with_name("first-review")}))))
    mend()
    os._exit(max(0, _forked(request.model_copy(update={"disk": None}))))


def _forked(request: Request) -> int:
    pid = os.fork()
    if pid == 0:
        if request.disk in ("errors", "short reads"):
            faulty_files(Path(request.root), request.share, request.seed, request.disk == "short reads")
        _child(request)
    return _code(os.waitpid(pid, 0)[1])


def _code(status: int) -> int:
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def serve() -> None:
    """Until standard input ends."""
    for line in sys.stdin:
        request = Request.model_validate_json(line)
        request.log.parent.mkdir(parents=True, exist_ok=True)
        request.log.touch()
        pid = os.fork()
        if pid == 0:
            _on_a_bad_disk(request) if request.disk else _child(request)
        status = _status(pid, request.cpu)
        result = request.log.with_suffix(".json")
        answer: dict[str, Any] = {
            "code": _code(status),
            "commits": request.log.read_text().splitlines(),
            "found": json.loads(result.read_text()) if result.exists() else None,
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
