"""A process that has loaded everything, and does the work in children of its own: one is killed in half a second instead of ten.

    python -m tests.torture.zygote

One request a line on standard input, JSON; one answer a line: {"code": exit code or −signal, "commits": names, "found": result or null}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

import flows.review
import flows.training  # noqa: F401  # so that no child loads them
from tasks.models import cross_encoder, embedder, trainer, training  # noqa: F401
from tasks.store.local import LocalStorage
from tests.torture.work import work


class Request(BaseModel):
    """One child's work, and its end: at the n-th file that becomes visible (before or after it does), or after so many seconds."""

    folder: Path
    root: Path
    scratch: Path
    log: Path
    at: int | None = None
    when: Literal["before", "after"] = "before"
    seconds: float | None = None


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _armed(request: Request) -> None:
    """Write down each file that becomes visible, and end where it was asked for."""
    seen = 0
    put = LocalStorage.put_file

    def counted(self: LocalStorage, name: str, local: Path) -> None:
        nonlocal seen
        seen += 1
        if seen == request.at and request.when == "before":
            _die()
        put(self, name, local)
        with request.log.open("a") as log:
            log.write(name + "\n")
        if seen == request.at:
            _die()

    LocalStorage.put_file = counted  # type: ignore[method-assign]
    if request.seconds is not None:
        clock = threading.Timer(request.seconds, _die)
        clock.daemon = True
        clock.start()


def _child(request: Request) -> None:
    try:
        _armed(request)
        found = work(request.folder, request.root, request.scratch)
        request.log.with_suffix(".json").write_text(json.dumps(found))
        sys.stdout.flush()
        os._exit(0)
    except BaseException:
        request.log.with_suffix(".error").write_text(traceback.format_exc())
        os._exit(1)


def serve() -> None:
    """Until standard input ends."""
    for line in sys.stdin:
        request = Request.model_validate_json(line)
        request.log.parent.mkdir(parents=True, exist_ok=True)
        request.log.touch()
        pid = os.fork()
        if pid == 0:
            _child(request)
        _, status = os.waitpid(pid, 0)
        result = request.log.with_suffix(".json")
        answer: dict[str, Any] = {
            "code": -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status),
            "commits": request.log.read_text().splitlines(),
            "found": json.loads(result.read_text()) if result.exists() else None,
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
