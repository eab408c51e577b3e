"""One watcher a dataset: an advisory lock that expires unless it is renewed."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from typing import Any

from tasks.errors import StorageError, UsageError
from tasks.store.storage import Storage

EXPIRY = 60.0


class Lease:
    """The lock ``leases/watch/<dataset>.json``, held while the context is open and renewed from a thread of its own.

    It rests on the machines' clocks: they should not differ by more than a fraction of ``expiry``. It only keeps two watchers from doing
    the same work; what they publish is safe without it.

    Args:
        storage: the root.
        dataset: whose watcher this is.
        expiry: seconds after which a lock that nobody renews is free.
    """

    def __init__(self, storage: Storage, dataset: str, expiry: float = EXPIRY) -> None:
        self._storage = storage
        self._dataset = dataset
        self._expiry = expiry
        self._name = f"leases/watch/{dataset}.json"
        self._holder = f"{socket.gethostname()}:{os.getpid()}"
        self._id = uuid.uuid4().hex
        self._stop = threading.Event()
        self._lost = ""
        self._thread = threading.Thread(target=self._renew, daemon=True, name="watch-lease")

    def __enter__(self) -> Lease:
        self._take()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=self._expiry)
        with contextlib.suppress(StorageError):
            present, token = self._read()
            if present.get("id") == self._id:
                self._storage.move_pointer(self._name, self._content(0.0), token)

    def check(self) -> None:
        """Refuse to go on without the lock.

        Raises:
            StorageError: another watcher has taken it over.
        """
        if self._lost:
            raise StorageError(
                f"another watcher ({self._lost}) took over dataset {self._dataset!r}", "this one was stopped for too long; let one run"
            )

    def _take(self) -> None:
        present, token = self._read()
        left = float(present.get("until", 0.0)) - time.time()
        if left <= 0 and self._storage.move_pointer(self._name, self._content(time.time() + self._expiry), token):
            return
        present, _ = self._read()
        raise UsageError(
            f"another watcher ({present.get('holder')}) is at work on dataset {self._dataset!r}",
            f"stop it first; if it is gone already, its lock is free in {max(left, 0.0):.0f} s",
        )

    def _renew(self) -> None:
        while not self._stop.wait(self._expiry / 4):
            with contextlib.suppress(StorageError):  # the next turn tries again, well before the expiry
                present, token = self._read()
                if present.get("id") != self._id:
                    self._lost = str(present.get("holder"))
                    return
                self._storage.move_pointer(self._name, self._content(time.time() + self._expiry), token)

    def _read(self) -> tuple[dict[str, Any], str]:
        data, token = self._storage.read_pointer(self._name)
        return ({} if data is None else dict(json.loads(data))), token

    def _content(self, until: float) -> bytes:
        return json.dumps({"holder": self._holder, "id": self._id, "until": until}, sort_keys=True).encode()
