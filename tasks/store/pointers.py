"""Pointers: the only names whose content changes, always by compare-and-swap."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

from tasks.errors import StorageError
from tasks.store.seal import Damaged, seal, unseal
from tasks.store.storage import Storage

_TRIES = 50
_WAIT = 0.2


def read_pointer(storage: Storage, name: str) -> dict[str, Any] | None:
    """The JSON object that ``pointers/<name>.json`` holds, ``None`` where there is none."""
    path = f"pointers/{name}.json"
    return _content(storage, path, storage.read_pointer(path)[0])


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
        present = _content(storage, path, data)
        wanted = change(present)
        if wanted is None or wanted == present:
            return present
        if storage.move_pointer(path, seal(json.dumps(wanted, indent=1, sort_keys=True).encode()), token):
            return wanted
        time.sleep(random.uniform(0, _WAIT))
    raise StorageError(f"{storage.root}/{path}: {_TRIES} writers were faster", "run again when the other runs are done")


def rebuild_pointer(storage: Storage, name: str, content: dict[str, Any]) -> None:
    """Put a pointer whose content was lost, whatever is there."""
    storage.set_aside(f"pointers/{name}.json")
    update_pointer(storage, name, lambda _: content)


def _content(storage: Storage, path: str, data: bytes | None) -> dict[str, Any] | None:
    try:
        return None if data is None else dict(json.loads(unseal(data)))
    except (ValueError, TypeError) as error:
        raise Damaged(f"{storage.root}/{path} is damaged", "`hardmine verify --mend` makes it anew from the records") from error
