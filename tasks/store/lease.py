"""Leases: advisory locks and signs of life under ``leases/``, which expire unless their holder renews them.

They rest on the machines' clocks, which should not differ by more than a fraction of the expiry. They only keep two processes from doing
the same work and from clearing away what the other reads: what is written is safe without them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from tasks.errors import StorageError
from tasks.store.holder import Holder, read_holder
from tasks.store.storage import Storage

_LOG = logging.getLogger(__name__)
EXPIRY = 60.0
CLEARING = "clearing"  # the lease of who removes files: meanwhile no run begins
_POLL = 0.5
_AGAIN = 1.0  # seconds after which a lease that could not be renewed is tried again


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
        self._own = Holder.here(what)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="lease")
        self._until, self._lapsed = 0.0, False
        self.lost: Holder | None = None  # who took it over, while this process was stopped for longer than the expiry

    def take(self) -> Holder | None:
        """Take the lease if it is free.

        Returns:
            ``None``: it is taken; else who has it.
        """
        present, token = self._read()
        if not present.alive and self._put(token):
            self._thread.start()
            return None
        return self._read()[0]

    def sign(self) -> None:
        """Take a lease whose name is nobody else's, as soon as the store lets it be written: at once, or in the background."""
        with contextlib.suppress(StorageError):
            self._put("")
        self._thread.start()

    @property
    def held(self) -> bool:
        """Whether it was always renewed in time, so that nobody else has had it since it was taken."""
        return not self._lapsed and time.time() < self._until

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
        wait = self._expiry / 4 if self._until else _AGAIN
        while not self._stop.wait(wait):
            wait = min(_AGAIN, self._expiry / 4)
            with contextlib.suppress(StorageError):  # the next turn tries again, well before the expiry
                present, token = self._read()
                self._lapsed |= time.time() >= self._until
                if present.id not in ("", self._own.id):
                    self.lost = present
                    return
                if self._put(token):
                    wait = self._expiry / 4

    def _read(self) -> tuple[Holder, str]:
        data, token = self._storage.read_pointer(self._path)
        return read_holder(data), token

    def _put(self, token: str) -> bool:
        until = time.time() + self._expiry
        content = self._own.model_copy(update={"until": until}).model_dump_json().encode()
        done = self._storage.move_pointer(self._path, content, token)
        self._until = until if done else self._until
        return done


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
def at_work(storage: Storage, what: str, writes: bool = True) -> Iterator[None]:
    """A sign of life of a run, for as long as it is open: nothing that it may have looked at is cleared away.

    Where files are being cleared away just now, it waits until that has ended.

    Args:
        storage: the root.
        what: what the run does, as others are told.
        writes: false: it only reads. A root that cannot be written can be read without a sign of life, which is tried again meanwhile.

    Raises:
        StorageError: the sign of life of a run that writes cannot be put; or the store ignores conditional puts, and another run is
            at work: there, one at a time may write.
    """
    lease = Lease(storage, f"runs/{uuid.uuid4().hex}", what)
    try:
        if writes:
            lease.take()  # its name is nobody else's
            if not swaps(storage):
                lease.be_first(runs(storage))
        else:
            lease.sign()
        _await_clearing(storage, writes)
        yield
    finally:
        lease.release()


@contextmanager
def clearing(storage: Storage, what: str) -> Iterator[tuple[Lease, list[Holder]]]:
    """Remove files while no run is at work: those that begin meanwhile wait.

    A run puts its sign of life and then looks whether files are being removed; who removes takes this lease and then looks for signs of
    life. So at least one of both sees the other.

    Args:
        storage: the root.
        what: the work that removes; its own sign of life does not count.

    Yields:
        The lease, which must be :attr:`Lease.held` at each removal, and the runs that are at work, or may come back to it: while there
        are any, nothing may be removed.
    """
    lease = Lease(storage, CLEARING, what)
    while lease.take() is not None:
        time.sleep(random.uniform(_POLL / 2, _POLL))
    try:
        yield lease, [one for one in runs(storage, gone=False) if one.what != what]
    finally:
        lease.release()


def clear_signs(storage: Storage) -> None:
    """Remove signs of life of runs that were killed, and cannot come back."""
    for name in storage.list_names("leases/runs/"):
        data, _ = storage.read_pointer(name)
        if data is not None and not (holder := read_holder(data)).alive and not holder.may_return:
            storage.remove(name)


def _await_clearing(storage: Storage, writes: bool) -> None:
    said = False
    while True:
        try:
            now = read_holder(storage.read_pointer(_path(CLEARING))[0])
        except StorageError:
            if writes:
                raise
            return
        if not now.alive:
            return
        if not said:
            _LOG.warning("%s: %s removes what is not needed; waiting until it has ended", storage.root, now)
            said = True
        time.sleep(random.uniform(_POLL / 2, _POLL))


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


def runs(storage: Storage, gone: bool = True) -> list[Holder]:
    """The runs that are at work on a root now, the one that began first at the front.

    Args:
        storage: the root.
        gone: whether those that did not renew in time count as gone; false: only if they cannot come back (:attr:`Holder.may_return`).

    Raises:
        StorageError: it cannot be told.
    """
    found = []
    for name in storage.list_names("leases/runs/"):
        data, _ = storage.read_pointer(name)  # none: it was released just now
        holder = read_holder(data)
        if holder.alive or (not gone and data is not None and holder.may_return):
            found.append(holder)
    return sorted(found, key=lambda one: one.since)


def _path(name: str) -> str:
    return f"leases/{name}.json"
