"""Build the DuckDB snapshot from manifests: a new file for each set of rounds, and a pointer to the newest.

A snapshot is never changed, so that any DuckDB client can read one while the next is built. Tables are materialised.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.audit.asks import ask_manifests
from tasks.audit.checkpoints import checkpoint_manifests, recorded_datasets
from tasks.audit.fill import fill
from tasks.audit.judged import judged_manifests
from tasks.audit.promotions import promotion_manifests
from tasks.audit.records import dataset_names, list_rounds, round_manifests
from tasks.errors import StorageError
from tasks.sql import new_database
from tasks.store.explained import disk_failures
from tasks.store.keys import digest, file_checksum
from tasks.store.pointers import read_pointer, update_pointer
from tasks.store.storage import Storage, checked_copy

FORMAT = 8  # raised when the tables change, so that old snapshots are built again
ROW_LIMIT = 50_000_000
_TRIES = 20


def build_audit(storage: Storage, row_limit: int = ROW_LIMIT) -> str:
    """Bring the snapshot up to date with the rounds.

    Does nothing when it is. When another round is published meanwhile, builds again, so that the pointer never goes back.

    Args:
        storage: the root.
        row_limit: pairs (decisions of all selections) up to which all are kept. Above it: all negatives, positives and
            pseudo-positives, a sample by hash of the others, and exact counts.

    Returns:
        The snapshot's name under the root.

    Raises:
        StorageError: rounds are published faster than snapshots are built.
    """
    for _ in range(_TRIES):
        version = _version(storage, row_limit)
        present = read_pointer(storage, "audit")
        if present is not None and present["version"] == version and storage.size(present["path"]) == present["bytes"]:
            return str(present["path"])
        wanted = _build(storage, version, row_limit)

        def change(_: dict[str, Any] | None, version: str = version, wanted: dict[str, Any] = wanted) -> dict[str, Any] | None:
            return wanted if _version(storage, row_limit) == version else None

        after = update_pointer(storage, "audit", change)
        if after is not None and after["version"] == version:
            return str(after["path"])
    raise StorageError(f"{storage.root}: rounds are published faster than the audit is built", "run again when the other runs are done")


def latest_audit(storage: Storage) -> Path:
    """A local path of the newest snapshot.

    Raises:
        StorageError: there is none yet, or its file is damaged.
    """
    present = read_pointer(storage, "audit")
    if present is None:
        raise StorageError(f"{storage.root}: there is no audit yet", "run `hardmine mine run.yaml` or `hardmine quickstart`")
    return checked_copy(storage, present["path"], present["bytes"], present["checksum"], verify=False)  # DuckDB checks its blocks


def _version(storage: Storage, row_limit: int) -> str:
    names = sorted({*dataset_names(storage), *recorded_datasets(storage)})
    further = [[*promotion_manifests(storage, name), *checkpoint_manifests(storage, name)] for name in names]
    return digest(FORMAT, row_limit, round_manifests(storage), further, ask_manifests(storage), judged_manifests(storage))


def _build(storage: Storage, version: str, row_limit: int) -> dict[str, Any]:
    local = storage.scratch() / f"{uuid.uuid4().hex}.duckdb"
    try:
        with disk_failures("build the audit"), new_database(local, threads=min(os.cpu_count() or 1, 8)) as database:
            fill(database, storage, list_rounds(storage), row_limit)
        checksum, size = file_checksum(local), local.stat().st_size
        path = f"audit/audit-{version[:16]}-{checksum[:8]}.duckdb"
        storage.put_file(path, local)
    finally:
        _remove([local, local.with_name(f"{local.name}.wal")])
    return {"version": version, "path": path, "bytes": size, "checksum": checksum}


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
