"""What a plan measured or counted, kept for the next one: a folder of the user's, since it is about this machine and not about a root."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from tasks.errors import StorageError
from tasks.store.folders import cache_folder
from tasks.store.keys import digest

Kept = TypeVar("Kept", bound=BaseModel)


def find(kind: type[Kept], *key: object) -> Kept | None:
    """What is kept under a key; ``None`` where nothing is, or where it is of another version."""
    try:
        return kind.model_validate_json(_place(key).read_bytes())
    except (OSError, ValidationError):
        return None


def keep(value: Kept, *key: object) -> Kept:
    """Keep a value under a key.

    Raises:
        StorageError: the folder cannot be written.
    """
    place = _place(key)
    written = place.with_name(f".{uuid.uuid4().hex}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(value.model_dump_json())
        written.replace(place)
    except OSError as error:
        raise StorageError(
            f"cannot write {place.parent}: {error.strerror}", "set HARDMINE_CACHE to a folder that can be written"
        ) from error
    return value


def find_or_make(kind: type[Kept], make: Callable[[], Kept], anew: bool, *key: object) -> Kept:
    """What is kept, or (``anew``: always) what ``make`` gives, which is kept then."""
    found = None if anew else find(kind, *key)
    return found if found is not None else keep(make(), *key)


def _place(key: tuple[object, ...]) -> Path:
    return cache_folder() / f"{key[0]}-{digest(*key)}.json"
