"""Whether what is stored is what was written: every record by its seal, every file that a record names by size and checksum."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from flows.keeping.expected import expected
from flows.keeping.fault import Fault
from flows.keeping.mend import mend_of, set_right
from tasks.errors import StorageError
from tasks.store.seal import unseal
from tasks.store.storage import Storage

_RECORDS = ("manifests/", "pointers/")


class Verified(BaseModel):
    """What was looked at. ``mended``: damaged files were set aside, and pointers made anew."""

    records: int
    files: int
    bytes: int
    faults: tuple[Fault, ...]
    mended: bool = False


@dataclass(frozen=True)
class _Named:
    """A file as a record describes it."""

    path: str
    bytes: int
    checksum: str
    by: str


def verify(storage: Storage, mend: bool = False, read: Callable[[int, int], None] = lambda done, total: None) -> Verified:
    """Read everything that counts.

    Args:
        storage: the root.
        mend: set damaged files aside, so that the next run rebuilds them, and make damaged and lost pointers anew from the records.
        read: is told the bytes that were read so far, and how many there are.
    """
    sizes = {file.name: file.size for file in storage.walk()}
    records = [name for name in sizes if name.startswith(_RECORDS) and name.endswith(".json")]
    contents = {name: _content(storage, name) for name in records}
    wanted = expected(contents)
    broken = [name for name, content in contents.items() if content is None]
    faults = [Fault(name=name, kind="damaged", named_by=wanted.get(name, ""), mend=mend_of(name)) for name in broken]
    faults += [Fault(name=name, kind="missing", named_by=by, mend=mend_of(name)) for name, by in wanted.items() if name not in sizes]
    named = {one.path: one for name, content in contents.items() for one in _files(content, name)}
    total, done = sum(one.bytes for one in named.values()), 0
    for one in named.values():
        if one.path not in sizes:
            faults.append(Fault(name=one.path, kind="missing", named_by=one.by, mend=mend_of(one.path)))
        elif sizes[one.path] != one.bytes or storage.checksum(one.path) != one.checksum:
            faults.append(Fault(name=one.path, kind="damaged", named_by=one.by, mend=mend_of(one.path)))
        done += one.bytes
        read(done, total)
    if mend:
        set_right(storage, faults)
    return Verified(records=len(records), files=len(named), bytes=total, faults=tuple(faults), mended=mend)


def _content(storage: Storage, name: str) -> Any:
    try:
        return json.loads(unseal(storage.read_bytes(name)))
    except (ValueError, StorageError):
        return None


def _files(content: Any, by: str) -> Iterator[_Named]:
    """All file records within a record."""
    if isinstance(content, dict):
        if {"path", "bytes", "checksum"} <= content.keys():
            yield _Named(str(content["path"]), int(content["bytes"]), str(content["checksum"]), by)
        for value in content.values():
            yield from _files(value, by)
    elif isinstance(content, list):
        for value in content:
            yield from _files(value, by)
