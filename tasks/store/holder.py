"""Who holds a lease: a process on a machine, and whether it is still there."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict

_ABSENT = 3600.0  # seconds for which a process elsewhere may be cut off, and still finds what it has read about


class Holder(BaseModel):
    """Who has a lease, since when, until when unless it is renewed, and what for. Times are seconds since 1970.

    ``born``: when the process began, which tells it from a later one of the same number.
    """

    model_config = ConfigDict(frozen=True)
    machine: str = ""
    pid: int = 0
    born: float = 0.0
    id: str = ""
    since: float = 0.0
    until: float = 0.0
    what: str = ""

    @property
    def alive(self) -> bool:
        """Whether it was renewed in time; a process of this machine that ended without a word is known to be gone at once."""
        return self.until > time.time() and (self.machine != _machine() or _runs(self.pid, self.born))

    @property
    def may_return(self) -> bool:
        """Whether it may go on, though it did not renew in time: it was stopped, or cut off from the store. Elsewhere: for an hour."""
        return _runs(self.pid, self.born) if self.machine == _machine() else self.until + _ABSENT > time.time()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.machine.split('/')[0]}"

    @classmethod
    def here(cls, what: str) -> Holder:
        """This process, from now on."""
        pid = os.getpid()
        return cls(machine=_machine(), pid=pid, born=_born(pid), id=uuid.uuid4().hex, since=time.time(), what=what)


def read_holder(data: bytes | None) -> Holder:
    """A lease's content; of none, and of a damaged one, a holder that is long gone."""
    if data is None:
        return Holder()
    try:
        content: dict[str, Any] = json.loads(data)
        return Holder.model_validate(content)
    except ValueError:
        return Holder()  # it is damaged: nobody can renew it


def _runs(pid: int, born: float) -> bool:
    """Whether a process of this machine is there, and no later one of the same number."""
    return psutil.pid_exists(pid) and (not born or abs(_born(pid) - born) < 1)


def _born(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def _machine() -> str:
    """Where process numbers mean the same: the host's name, and the space of its process numbers (containers may share a name)."""
    space = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{space.stat().st_ino if space.exists() else ''}"
