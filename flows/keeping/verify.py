"""Whether what is stored is what was written: every record by its seal, every file that a record names by size and checksum."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from tasks.audit.checkpoints import rebuild_checkpoints
from tasks.audit.latest import move_latest
from tasks.audit.promotions import rebuild_promotions
from tasks.audit.records import list_rounds, rebuild_datasets, rebuild_rounds
from tasks.errors import StorageError
from tasks.review.records import rebuild_reviews
from tasks.store.seal import unseal
from tasks.store.storage import Storage

Kind = Literal["missing", "damaged"]
_RECORDS = ("manifests/", "pointers/")
_GIVEN = (
    "judgements/",
    "promotions/",
    "manifests/reviews/",
    "manifests/promotions/",
    "manifests/checkpoints/",
    "manifests/rounds/",
)


class Fault(BaseModel):
    """One file that is not as it was written: what is wrong, which record names it, and what becomes of it."""

    name: str
    kind: Kind
    named_by: str = ""
    mend: str = ""


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
        mend: set damaged files aside, so that the next run rebuilds them, and make damaged pointers anew from the records.
        read: is told the bytes that were read so far, and how many there are.
    """
    sizes = {file.name: file.size for file in storage.walk()}
    records = [name for name in sizes if name.startswith(_RECORDS) and name.endswith(".json")]
    faults, named = [], {}
    for name in records:
        content = _content(storage, name)
        if content is None:
            faults.append(Fault(name=name, kind="damaged", mend=_mend(name)))
        else:
            named.update({one.path: one for one in _files(content, name)})
    total, done = sum(one.bytes for one in named.values()), 0
    for one in named.values():
        if one.path not in sizes:
            faults.append(Fault(name=one.path, kind="missing", named_by=one.by, mend=_mend(one.path)))
        elif sizes[one.path] != one.bytes or storage.checksum(one.path) != one.checksum:
            faults.append(Fault(name=one.path, kind="damaged", named_by=one.by, mend=_mend(one.path)))
        done += one.bytes
        read(done, total)
    if mend:
        _set_right(storage, [fault.name for fault in faults if fault.kind == "damaged"])
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


def _mend(name: str) -> str:
    if name.startswith("pointers/"):
        return "--mend makes it anew from the records, or the next run does"
    if name.startswith("answers/"):
        return "the next run that needs it asks the model anew: restore it from a copy to spare that"
    if name.startswith(_GIVEN):
        return "nothing can rebuild it: restore it from a copy, or give it again"
    return "the next run that needs it rebuilds it"


def _set_right(storage: Storage, damaged: list[str]) -> None:
    for name in damaged:
        storage.set_aside(name)
    rebuild = {"rounds": rebuild_rounds, "checkpoints": rebuild_checkpoints, "reviews": rebuild_reviews, "promotions": rebuild_promotions}
    for name in damaged:
        kind, _, dataset = name.removeprefix("pointers/").removesuffix(".json").partition("/")
        if name == "pointers/datasets.json":
            rebuild_datasets(storage)
        elif name.startswith("pointers/") and kind in rebuild:
            rebuild[kind](storage, dataset)
        elif name.startswith("manifests/rounds/"):
            rebuild_rounds(storage, name.split("/")[2])
    for name in damaged:
        if name.startswith("pointers/latest/"):
            dataset = name.removeprefix("pointers/latest/").removesuffix(".json")
            move_latest(storage, dataset, max(one.number for one in list_rounds(storage, dataset)))
