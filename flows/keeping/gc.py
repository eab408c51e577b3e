"""Clear a root: remove what no published round, pin or running job needs, the oldest first.

Kept is whatever can be reached from the rounds, checkpoints, reviews, promotions and pins. Stores of what models computed (vectors, pairs)
count by the models that these name. While a run is at work nothing is removed, for nobody knows what it has found in the cache; and a run
that begins while files are being removed waits until that has ended.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel

from flows.keeping.retire import Retired, retire
from tasks.audit.build import build_audit
from tasks.audit.checkpoints import READINGS
from tasks.errors import StorageError
from tasks.store.lease import Lease, at_work, clear_signs, clearing
from tasks.store.pointers import KNOWN
from tasks.store.reach import reachable
from tasks.store.seen import SeenFile
from tasks.store.storage import Storage

DAY = 86_400.0
_WHAT = "gc"
_RECORDS = ("manifests/", "pointers/")
_STORES = ("pointers/pairs/", "pointers/vectors/", "pointers/embed/")  # needed as far as a round names their model
#: what a language model was paid for is kept for ever
_KEPT = ("manifests/answers/", "manifests/asks/", "manifests/judged/", "manifests/batches/")
_COUNTS = f"pointers/{READINGS}"  # names models and needs nothing of theirs
_OWN = ("data/", "manifests/", "pointers/", "pairs/", "answers/", "audit/", "judgements/", "judged/", "promotions/", "damaged/", "tmp/")
_REPLACED = re.compile(rb'"markers":\s*\[[^\]]*\]')  # what a merged store replaced


class Collected(BaseModel):
    """What was removed, or would be.

    ``by_kind``: bytes by the first two parts of the names; ``waits_for``: the runs because of which nothing was removed.
    """

    applied: bool
    files: int
    bytes: int
    by_kind: dict[str, int]
    left: int
    left_bytes: int
    retired: tuple[Retired, ...] = ()
    waits_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """What may be removed.

    Args:
        older_than: seconds since a file was last written.
        max_bytes: the oldest are removed until the root is no larger; none: all that is old enough.
        keep_rounds: of each dataset only so many of the newest rounds stay published, besides pinned ones; none: all.
    """

    older_than: float = 7 * DAY
    max_bytes: int | None = None
    keep_rounds: int | None = None


def collect(storage: Storage, limits: Limits, apply: bool = False) -> Collected:
    """Find, and if ``apply`` remove, what nothing needs.

    Raises:
        Damaged: a record cannot be read, so that nobody knows what it needs.
    """
    if not apply:
        with at_work(storage, _WHAT, writes=False):
            return _found(storage, limits)[0]
    with at_work(storage, _WHAT), clearing(storage, _WHAT) as (lease, others):
        if others:
            found, _ = _found(storage, limits)
            return found.model_copy(update={"waits_for": tuple(f"{one.what}: {one}" for one in others)})
        found, chosen = _found(storage, limits, apply=True)
        _remove(storage, chosen, lease)
        clear_signs(storage)
        if found.retired:
            build_audit(storage)
    return found


def _found(storage: Storage, limits: Limits, apply: bool = False) -> tuple[Collected, set[str]]:
    """What goes, with its names; with ``apply`` the rounds that go are no longer published."""
    files = {file.name: file for file in storage.walk() if file.name.startswith(_OWN)}  # what else lies there is not ours
    contents = {name: storage.read_bytes(name) for name in files if name.startswith(_RECORDS)}
    retired = retire(storage, limits.keep_rounds, apply)
    for one in retired:
        contents.update(one.contents)
    chosen = _chosen(files, _needed(files, contents), limits)
    return _summed(files, chosen, apply, retired), chosen


def _remove(storage: Storage, chosen: set[str], lease: Lease) -> None:
    """Records first, so that no record is left whose files are gone.

    Raises:
        StorageError: this process was stopped for so long that a run may have begun.
    """
    for name in sorted(chosen, key=lambda name: (not name.startswith(_RECORDS), name)):
        if not lease.held:
            raise StorageError(
                f"{storage.root}: gc was stopped for longer than its lease lasts, and a run may have begun", "run `hardmine gc` again"
            )
        storage.remove(name)


def _needed(files: dict[str, SeenFile], contents: dict[str, bytes]) -> set[str]:
    """Names that can be reached; damaged files and scratch cannot."""
    slim = {name: b"" if name.startswith(_COUNTS) else _REPLACED.sub(b"", content) for name, content in contents.items()}
    roots = [name for name in slim if name.startswith((*_KEPT, KNOWN)) or (name.startswith("pointers/") and not name.startswith(_STORES))]
    return reachable(slim, files.keys(), roots)


def _chosen(files: dict[str, SeenFile], needed: set[str], limits: Limits) -> set[str]:
    """What goes: of what is not needed, what is old enough, the oldest first."""
    before = time.time() - limits.older_than
    spare = sorted(
        (file for name, file in files.items() if name not in needed and file.written < before), key=lambda file: (file.written, file.name)
    )
    if limits.max_bytes is None:
        return {file.name for file in spare}
    total, chosen = sum(file.size for file in files.values()), set()
    for file in spare:
        if total <= limits.max_bytes:
            break
        chosen.add(file.name)
        total -= file.size
    return chosen


def _summed(files: dict[str, SeenFile], chosen: set[str], applied: bool, retired: Iterable[Retired]) -> Collected:
    kinds: Counter[str] = Counter()
    for name in chosen:
        kinds["/".join(name.split("/")[:2])] += files[name].size
    gone, total = sum(kinds.values()), sum(file.size for file in files.values())
    return Collected(
        applied=applied,
        files=len(chosen),
        bytes=gone,
        by_kind=dict(kinds.most_common()),
        left=len(files) - len(chosen),
        left_bytes=total - gone,
        retired=tuple(retired),
    )
