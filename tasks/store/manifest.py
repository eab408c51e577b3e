"""Manifests: the only truth about what is done. Written last, they are the commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.errors import StorageError
from tasks.store.keys import digest
from tasks.store.seal import find_record, put_record
from tasks.store.storage import Storage


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRecord(_Record):
    """One committed file: its name under the root, size, checksum and (for tables) rows."""

    name: str
    path: str
    bytes: int
    checksum: str
    rows: int | None = None


class Part(_Record):
    """One partition's output, as committed.

    ``meta`` holds small facts about the output (dimension, counts by reason) and is part of no key;
    ``counters`` is what it cost (model_calls, cache_hits, …).
    """

    stage: str
    key: str
    index: str
    files: tuple[FileRecord, ...]
    counters: dict[str, int] = {}
    meta: dict[str, Any] = {}
    seconds: float = 0.0

    @property
    def checksum(self) -> str:
        """Fingerprint of the output's bytes: what a stage that reads it puts into its key."""
        return digest([[file.name, file.checksum] for file in self.files])

    def file(self, name: str) -> FileRecord:
        """The record of one file.

        Raises:
            StorageError: this part has no file of that name.
        """
        for record in self.files:
            if record.name == name:
                return record
        raise StorageError(f"part {self.index} of {self.stage} has no file {name!r}")

    def only(self, *names: str) -> Part:
        """This part reduced to some of its files, so that a reader's key depends on them alone."""
        return self.model_copy(update={"files": tuple(self.file(name) for name in names)})


class StageManifest(_Record):
    """One stage over all of its partitions."""

    stage: str
    version: int
    key: str
    settings: dict[str, Any]
    parts: tuple[Part, ...]
    counters: dict[str, int]
    seconds: float

    @property
    def checksum(self) -> str:
        """Fingerprint of all the stage's output."""
        return digest([[part.index, part.checksum] for part in self.parts])

    @property
    def rows(self) -> int:
        """Rows in all tables of all parts."""
        return sum(file.rows or 0 for part in self.parts for file in part.files)

    @property
    def bytes(self) -> int:
        """Bytes in all files of all parts."""
        return sum(file.bytes for part in self.parts for file in part.files)

    def part(self, index: str) -> Part:
        """The part of that index."""
        return next(part for part in self.parts if part.index == index)


def part_name(stage: str, key: str) -> str:
    """Where a partition's manifest lies."""
    return f"manifests/{stage}/parts/{key}.json"


def stage_name(stage: str, key: str) -> str:
    """Where a stage's manifest lies."""
    return f"manifests/{stage}/{key}.json"


def read_part(storage: Storage, stage: str, key: str) -> Part | None:
    """A partition's manifest, if it is committed and its files are there with the recorded sizes."""
    part = find_record(storage, part_name(stage, key), Part)
    return part if part is not None and _files_there(storage, part) else None


def read_stage(storage: Storage, stage: str, key: str, check_files: bool = True) -> StageManifest | None:
    """A stage's manifest, if it is committed and (``check_files``) all its files are there."""
    manifest = find_record(storage, stage_name(stage, key), StageManifest)
    if manifest is None or not check_files:
        return manifest
    if not all(_files_there(storage, part) for part in manifest.parts):
        return None
    return manifest


def commit_part(storage: Storage, part: Part) -> None:
    """Write a partition's manifest: from now on its work is done."""
    put_record(storage, part_name(part.stage, part.key), part)


def commit_stage(storage: Storage, manifest: StageManifest) -> None:
    """Write a stage's manifest: from now on the stage is done."""
    put_record(storage, stage_name(manifest.stage, manifest.key), manifest)


def add_counters(*counters: Mapping[str, int]) -> dict[str, int]:
    """Sum of counters by name."""
    total: dict[str, int] = {}
    for counter in counters:
        for name, value in counter.items():
            total[name] = total.get(name, 0) + value
    return dict(sorted(total.items()))


def is_there(storage: Storage, record: FileRecord) -> bool:
    """Whether a file is there with its recorded size."""
    return storage.size(record.path) == record.bytes


def _files_there(storage: Storage, part: Part) -> bool:
    return all(is_there(storage, file) for file in part.files)
