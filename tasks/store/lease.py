"""Leases: advisory locks and signs of life under ``leases/``, which expire unless their holder renews them.

They rest on the machines' clocks, which should not differ by more than a fraction of the expiry. They only keep two processes from doing
the same work and from clearing away what the other reads: what is written is safe without them.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict

from tasks.errors import StorageError
from tasks.store.storage import Storage

EXPIRY = 60.0
_POLL = 0.5


class Holder(BaseModel):
    """Who has a lease, since when, until when unless it is renewed, and what for. Times are seconds since 1970."""

    model_config = ConfigDict(frozen=True)
    machine: str = ""
    pid: int = 0
    id: str = ""
    since: float = 0.0
    until: float = 0.0
    what: str = ""

    @property
    def alive(self) -> bool:
        """Whether it was renewed in time; a process of this machine that ended without a word is known to be gone at once."""
        return self.until > time.time() and (self.machine != _machine() or psutil.pid_exists(self.pid))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.machine.split('/')[0]}"


class Lease:
    """One lease, renewed from a thread of its own between :meth:`take` and :meth:`release`.

    Args:
        storage: the root.
        name: of the lease, with ``/`` between parts; only one process has it at a time.
        what: what it is for, as another process that wants it is told.
        expiry: seconds after which a lease that nobody renews is free.
    """

    def __init__(self, storage: Storage, name: str, what: str = "", expiry: float = EXPIRY) -> None:
        self._storage, self._path, self._expiry = storage, _path(name), expiry
        self._own = Holder(machine=_machine(), pid=os.getpid(), id=uuid.uuid4().hex, since=time.time(), what=what)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="lease")
        self.lost: Holder | None = None  # who took it over, while this process was stopped for longer than the expiry

    def take(self) -> Holder | None:
        """Take the lease if it is free.

        Returns:
            ``None``: it is taken; else who has it.
        """
        present, token = self._read()
        if not present.alive and self._storage.move_pointer(self._path, self._content(), token):
            self._thread.start()
            return None
        return self._read()[0]

    def release(self) -> None:
        """Give it back; a lease that another process has by now is left alone."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=self._expiry)
        with contextlib.suppress(StorageError):
            if self._read()[0].id == self._own.id:
                self._storage.remove(self._path)

    def be_first(self, others: Iterable[Holder]) -> None:
        """Refuse to go on beside a run that began earlier.

        Raises:
            StorageError: there is one.
        """
        earlier = [one for one in others if (one.since, one.id) < (self._own.since, self._own.id)]
        if earlier:
            raise StorageError(
                f"{self._storage.root}: {earlier[0]} is at work ({earlier[0].what}), and this store ignores conditional puts",
                "one run at a time: wait until it has ended, or keep the root where they are honoured (`hardmine doctor` tells)",
            )

    def _renew(self) -> None:
        while not self._stop.wait(self._expiry / 4):
            with contextlib.suppress(StorageError):  # the next turn tries again, well before the expiry
                present, token = self._read()
                if present.id != self._own.id:
                    self.lost = present
                    return
                self._storage.move_pointer(self._path, self._content(), token)

    def _read(self) -> tuple[Holder, str]:
        data, token = self._storage.read_pointer(self._path)
        return _holder(data), token

    def _content(self) -> bytes:
        return self._own.model_copy(update={"until": time.time() + self._expiry}).model_dump_json().encode()


@contextmanager
def turn(storage: Storage, name: str, what: str, waits: Callable[[Holder], None], expiry: float = EXPIRY) -> Iterator[bool]:
    """Wait until no other process has a lease, and have it meanwhile.

    Args:
        storage: the root.
        name: of the lease.
        what: what it is for.
        waits: is told once who has it.
        expiry: see :class:`Lease`.

    Yields:
        Whether it had to wait: what it wanted to do may be done by now.
    """
    lease, waited = Lease(storage, name, what, expiry), False
    while (other := lease.take()) is not None:
        if not waited and other.alive:
            waits(other)
            waited = True
        time.sleep(random.uniform(_POLL / 2, _POLL))
    try:
        yield waited
    finally:
        lease.release()


@contextmanager
def at_work(storage: Storage, what: str) -> Iterator[None]:
    """A sign of life of a run, for as long as it is open: nothing that it may have looked at is cleared away.

    Raises:
        StorageError: the store ignores conditional puts, and another run is at work: there, one at a time may write.
    """
    lease = Lease(storage, f"runs/{uuid.uuid4().hex}", what)
    try:
        lease.take()  # its name is nobody else's
        alone = not swaps(storage)
    except StorageError:  # a root that cannot be written may still be read; who has to write is told then
        alone = False
    try:
        if alone:
            lease.be_first(runs(storage))
        yield
    finally:
        lease.release()


def swaps(storage: Storage) -> bool:
    """Whether the root honours conditional puts, without which two runs could take the same lease. Tried once, and written down in it."""
    if storage.is_local:
        return True
    known = _path("store")
    if storage.size(known) is None:
        tried = _path(f"try-{uuid.uuid4().hex}")
        storage.move_pointer(tried, b"1", "")
        found = not storage.move_pointer(tried, b"2", "")
        storage.remove(tried)
        storage.put_bytes(known, json.dumps({"swaps": found}).encode())
    return bool(json.loads(storage.read_bytes(known))["swaps"])


def runs(storage: Storage) -> list[Holder]:
    """The runs that are at work on a root now, the one that began first at the front."""
    found = []
    for name in storage.list_names("leases/runs/"):
        with contextlib.suppress(StorageError):  # it was released just now
            holder = _holder(storage.read_bytes(name))
            if holder.alive:
                found.append(holder)
    return sorted(found, key=lambda one: one.since)


def _holder(data: bytes | None) -> Holder:
    if data is None:
        return Holder()
    try:
        content: dict[str, Any] = json.loads(data)
        return Holder.model_validate(content)
    except ValueError:
        return Holder()  # it is damaged: nobody can renew it


def _machine() -> str:
    """Where process numbers mean the same: the host's name, and the space of its process numbers (containers may share a name)."""
    space = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{space.stat().st_ino if space.exists() else ''}"


def _path(name: str) -> str:
    return f"leases/{name}.json"
