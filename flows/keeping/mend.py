"""What becomes of a file that is damaged or lost."""

from __future__ import annotations

from collections.abc import Iterable

from flows.keeping.fault import Fault
from tasks.audit.checkpoints import rebuild_checkpoints
from tasks.audit.latest import move_latest
from tasks.audit.promotions import rebuild_promotions
from tasks.audit.records import list_rounds, rebuild_datasets, rebuild_rounds
from tasks.review.records import rebuild_reviews
from tasks.store.manifest import StageManifest, commit_part, part_name, read_stage
from tasks.store.pointers import REMADE, forget_pointer, rebuild_pointer
from tasks.store.seal import find_record
from tasks.store.storage import Storage

_GIVEN = ("judgements/", "labels/", "promotions/")
_REBUILD = {"rounds": rebuild_rounds, "checkpoints": rebuild_checkpoints, "reviews": rebuild_reviews, "promotions": rebuild_promotions}


_LETS_GO = {
    "rounds": "the same round, mined again, is published anew",
    "checkpoints": "the same training or evaluation, run again, writes it anew",
    "reviews": "its labels count no more until they are imported again",
    "promotions": "its labels count no more until they are promoted again",
}


def mend_of(name: str) -> str:
    """What can be done about a file, in a sentence."""
    pointer = name.removeprefix("pointers/")
    if pointer != name:
        if pointer.startswith(REMADE):
            return "the next run makes it anew"
        if pointer == "datasets.json" or pointer.endswith("/partitions.json") or pointer.partition("/")[0] in _REBUILD:
            return "--mend makes it anew from the records"
        return "nothing can rebuild it: restore it from a copy, or --mend lets it begin anew"
    if name.startswith("answers/"):
        return "the next run that needs it asks the model anew: restore it from a copy to spare that"
    if kind := _pointed(name):
        return f"restore it from a copy, or --mend lets go of it: {_LETS_GO[kind]}"
    if name.startswith(_GIVEN):
        return "nothing can rebuild it: restore it from a copy, or give it again"
    if "/parts/" in name:
        return "--mend makes it anew from the stage's record, or the next run rebuilds it"
    return "the next run that needs it rebuilds it"


def set_right(storage: Storage, faults: Iterable[Fault]) -> None:
    """Set damaged files aside, and make anew what can be made from the records: first what other things are made of."""
    faults = list(faults)
    for fault in faults:
        if fault.kind == "damaged":
            storage.set_aside(fault.name)
    for fault in sorted(faults, key=lambda one: _turn(one.name)):
        if fault.name.startswith("pointers/"):
            _pointer(storage, fault.name.removeprefix("pointers/").removesuffix(".json"))
        elif kind := _pointed(fault.name):
            _REBUILD[kind](storage, fault.name.split("/")[2])
        elif "/parts/" in fault.name and fault.named_by:
            _part(storage, fault.name, fault.named_by)


def _pointed(name: str) -> str | None:
    """The kind of a record that a dataset's pointer names by its path: the pointer is made anew from those that are left."""
    folder, _, rest = name.partition("/")
    kind = rest.partition("/")[0]
    return kind if folder == "manifests" and kind in _REBUILD else None


def _turn(name: str) -> int:
    """Rounds before the list of datasets, that before what looks at rounds, and trainers' pointers last."""
    if name.startswith(("pointers/rounds/", "manifests/rounds/")):
        return 0
    return 1 if name == "pointers/datasets.json" else 2 + name.startswith("pointers/latest/")


def _pointer(storage: Storage, name: str) -> None:
    kind, _, dataset = name.partition("/")
    if name == "datasets":
        rebuild_datasets(storage)
    elif kind in _REBUILD:
        _REBUILD[kind](storage, dataset)
    elif kind == "latest":
        move_latest(storage, dataset, max(one.number for one in list_rounds(storage, dataset)))
    elif kind == "datasets":
        _partitions(storage, name, dataset.removesuffix("/partitions"))
    elif not name.startswith(REMADE):
        forget_pointer(storage, name)


def _partitions(storage: Storage, name: str, dataset: str) -> None:
    """The numbers of partitions are those of the dataset's rounds."""
    for record in reversed(list_rounds(storage, dataset)):
        found = {role: read_stage(storage, one.stage, one.key, check_files=False) for role, one in record.roles.items()}
        documents, queries = found.get("documents"), found.get("queries")
        if documents is not None and queries is not None:
            rebuild_pointer(storage, name, {"documents": len(documents.parts), "queries": len(queries.parts)})
            return
    forget_pointer(storage, name)


def _part(storage: Storage, name: str, stage: str) -> None:
    manifest = find_record(storage, stage, StageManifest)
    for part in manifest.parts if manifest is not None else ():
        if part_name(part.stage, part.key) == name:
            commit_part(storage, part)
