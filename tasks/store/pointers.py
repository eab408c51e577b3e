"""Pointers: the only names whose content changes, always by compare-and-swap."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

from tasks.errors import StorageError
from tasks.store.storage import Storage

_TRIES = 50
_WAIT = 0.2


def read_pointer(storage: Storage, name: str) -> dict[str, Any] | None:
    """The JSON object that ``pointers/<name>.json`` holds, ``None`` where there is none."""
    data, _ = storage.read_pointer(f"pointers/{name}.json")
    return None if data is None else dict(json.loads(data))


def update_pointer(storage: Storage, name: str, change: Callable[[dict[str, Any] | None], dict[str, Any] | None]) -> dict[str, Any] | None:
    """Move a pointer by a function of its present content, tried again when another writer was first.

    Args:
        storage: the root.
        name: the pointer's name without folder and ending.
        change: gets the present content (``None``: not there), gives the new one, or ``None`` to leave it.

    Returns:
        What the pointer holds afterwards.
    """
    path = f"pointers/{name}.json"
    for _ in range(_TRIES):
        data, token = storage.read_pointer(path)
        present = None if data is None else dict(json.loads(data))
        wanted = change(present)
        if wanted is None or wanted == present:
            return present
        if storage.move_pointer(path, json.dumps(wanted, indent=1, sort_keys=True).encode(), token):
            return wanted
        time.sleep(random.uniform(0, _WAIT))
    raise StorageError(f"{storage.root}/{path}: {_TRIES} writers were faster", "run again when the other runs are done")
