"""Pointers: the only names whose content changes, always by compare-and-swap.

That there is a pointer is written down under ``manifests/pointers/``, so that one that vanished is not taken for one that never was.
"""

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
KNOWN = "manifests/pointers/"
REMADE = ("embed/", "vectors/", "pairs/", "audit", "latest/")  # the next run makes these anew: a lost one is no loss
_MEND = "`hardmine verify --mend` makes it anew from the records"


def read_pointer(storage: Storage, name: str) -> dict[str, Any] | None:
    """The JSON object that ``pointers/<name>.json`` holds, ``None`` where there never was one.

    Raises:
        Damaged: it is not what was written, or it vanished; but for one of :data:`REMADE`, which is set aside and counts as missing.
    """
    return _read(storage, name)[0]


def update_pointer(storage: Storage, name: str, change: Callable[[dict[str, Any] | None], dict[str, Any] | None]) -> dict[str, Any] | None:
    """Move a pointer by a function of its present content, tried again when another writer was first.

    Args:
        storage: the root.
        name: the pointer's name without folder and ending.
        change: gets the present content (``None``: not there), gives the new one, or ``None`` to leave it.

    Returns:
        What the pointer holds afterwards.

    Raises:
        Damaged: as :func:`read_pointer`.
    """
    path = f"pointers/{name}.json"
    for _ in range(_TRIES):
        present, token = _read(storage, name)
        wanted = change(present)
        if wanted is None or wanted == present:
            return present
        if storage.move_pointer(path, seal(json.dumps(wanted, indent=1, sort_keys=True).encode()), token):
            if not name.startswith(REMADE) and storage.size(known := known_name(name)) is None:
                storage.put_bytes(known, seal(json.dumps({"pointer": path}, indent=1).encode()))
            return wanted
        time.sleep(random.uniform(0, _WAIT))
    raise StorageError(f"{storage.root}/{path}: {_TRIES} writers were faster", "run again when the other runs are done")


def rebuild_pointer(storage: Storage, name: str, content: dict[str, Any]) -> None:
    """Put a pointer whose content was lost, whatever is there."""
    forget_pointer(storage, name)
    update_pointer(storage, name, lambda _: content)


def forget_pointer(storage: Storage, name: str) -> None:
    """Let a pointer begin anew, whose content was lost and cannot be made from anything."""
    storage.set_aside(f"pointers/{name}.json")
    storage.remove(known_name(name))


def known_name(name: str) -> str:
    """Where it is written down that there is a pointer."""
    return f"{KNOWN}{name}.json"


def _read(storage: Storage, name: str) -> tuple[dict[str, Any] | None, str]:
    """A pointer's content and the token to move it with."""
    path = f"pointers/{name}.json"
    data, token = storage.read_pointer(path)
    if data is None and not name.startswith(REMADE) and storage.size(known_name(name)) is not None:
        data, token = storage.read_pointer(path)  # it may have been made just now
        if data is None:
            raise Damaged(f"{storage.root}/{path} is missing", _MEND)
    try:
        return (None if data is None else dict(json.loads(unseal(data)))), token
    except (ValueError, TypeError) as error:
        if not name.startswith(REMADE):
            raise Damaged(f"{storage.root}/{path} is damaged", _MEND) from error
        storage.set_aside(path)
        return None, ""
