"""The pointer that a trainer follows: ``pointers/latest/<dataset>.json``, the newest published round and its training files.

It is moved last, when all that it names is there, and never to an earlier round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.audit.records import RoundRecord, ShardsRef, read_round
from tasks.store.manifest import FileRecord, StageManifest, read_stage
from tasks.store.pointers import read_pointer, update_pointer
from tasks.store.storage import Storage


def latest_name(dataset: str) -> str:
    """The pointer's name, without folder and ending."""
    return f"latest/{dataset}"


def read_latest(storage: Storage, dataset: str) -> dict[str, Any] | None:
    """What the dataset's pointer holds, ``None`` before its first round."""
    return read_pointer(storage, latest_name(dataset))


def move_latest(storage: Storage, dataset: str, number: int) -> dict[str, Any] | None:
    """Let the pointer name a round that was just published.

    The round's record is read anew at each try, so that of two publishers of one round the later one's record stays.
    Nothing happens where the pointer names a later round, or where a training file of the round is gone.

    Args:
        storage: the root.
        dataset: whose pointer.
        number: of the round.

    Returns:
        What the pointer holds afterwards.
    """

    def change(present: dict[str, Any] | None) -> dict[str, Any] | None:
        if present is not None and present["round"] > number:
            return None
        return latest_of(storage, read_round(storage, dataset, number))

    return update_pointer(storage, latest_name(dataset), change)


def latest_of(storage: Storage, record: RoundRecord) -> dict[str, Any] | None:
    """What the pointer says of a round: ``None`` where its selection or a training file of it is gone.

    Returns:
        dataset, round, created, checkpoint {path, query_fingerprint, document_fingerprint}, candidate_set_id, selection_id, recipe, and
        formats: by name {folder, rows, files}; a file has path (under the root), bytes, checksum (xxh3, 128 bits) and rows;
        lookup, likewise, where the rows are ids.
    """
    selection = next((one for one in record.selections if one.selection_id == record.selection_id), None)
    if selection is None:
        return None
    formats = {}
    for name, reference in selection.shards.items():
        manifest = read_stage(storage, reference.stage, reference.key)
        if manifest is None:
            return None
        formats[name] = _format(reference, manifest)
    return {
        "dataset": record.dataset,
        "round": record.number,
        "created": record.created,
        "checkpoint": {
            "path": (record.settings.get("model") or {}).get("path"),
            "query_fingerprint": _fingerprint(storage, record, "query_vectors"),
            "document_fingerprint": _fingerprint(storage, record, "document_vectors"),
        },
        "candidate_set_id": record.candidate_set_id,
        "selection_id": selection.selection_id,
        "recipe": selection.recipe,
        "formats": formats,
    }


def _format(reference: ShardsRef, manifest: StageManifest) -> dict[str, Any]:
    files = [file for part in manifest.parts for file in part.files]
    data = [file for file in files if file.name.startswith("data")]
    lookup = [file for file in files if file.name.startswith("lookup")]
    found = {"folder": reference.folder, "rows": sum(file.rows or 0 for file in data), "files": _listed(data)}
    return {**found, "lookup": _listed(lookup)} if lookup else found


def _listed(files: Sequence[FileRecord]) -> list[dict[str, Any]]:
    return [{"path": file.path, "bytes": file.bytes, "checksum": file.checksum, "rows": file.rows} for file in files]


def _fingerprint(storage: Storage, record: RoundRecord, role: str) -> str | None:
    """Of the model that a round's vectors come from."""
    reference = record.roles.get(role)
    manifest = read_stage(storage, reference.stage, reference.key, check_files=False) if reference else None
    return str(manifest.settings["model"]) if manifest is not None and "model" in manifest.settings else None
