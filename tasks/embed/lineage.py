"""Which part held a partition's vectors last: what a changed dataset copies unchanged texts' vectors from."""

from __future__ import annotations

from tasks.store.manifest import Part, read_part
from tasks.store.pointers import read_pointer, update_pointer
from tasks.store.storage import Storage


def pointer_name(dataset: str, fingerprint: str, stage: str, index: str) -> str:
    """The pointer of one partition's lineage."""
    return f"embed/{fingerprint}/{dataset}/{stage}-{index}"


def previous_part(storage: Storage, dataset: str, fingerprint: str, stage: str, index: str) -> Part | None:
    """The part that was remembered last, if its files are still there.

    Args:
        storage: the root.
        dataset: the dataset's name.
        fingerprint: of the model in that role.
        stage: ``embed-documents`` or ``embed-queries``.
        index: the partition.
    """
    held = read_pointer(storage, pointer_name(dataset, fingerprint, stage, index))
    return None if held is None else read_part(storage, stage, str(held["key"]))


def remember_part(storage: Storage, dataset: str, fingerprint: str, part: Part) -> None:
    """Point a partition's lineage at a committed part; the last writer wins, since any part will do."""
    update_pointer(storage, pointer_name(dataset, fingerprint, part.stage, part.index), lambda _: {"key": part.key})
