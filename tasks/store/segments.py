"""Stores that grow by immutable files: segments, each named by a marker, merged into a new generation where they become many.

A marker under ``manifests/<name>/`` is put after its segment. The pointer ``<name>`` names the files of the newest generation and
the markers that they replace; it moves by compare-and-swap. Old segments stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tasks.store.keys import digest
from tasks.store.manifest import FileRecord, is_there
from tasks.store.output import Output
from tasks.store.pointers import read_pointer, update_pointer
from tasks.store.seal import find_record, put_record
from tasks.store.storage import Storage

MAX_SEGMENTS = 16
BUCKETS = "0123456789abcdef"  # a generation's files, by the first hex digit of their keys


@dataclass(frozen=True)
class Segments:
    """A store's segments.

    Args:
        storage: the root.
        name: of the store, as in ``pairs/<teacher>``.
    """

    storage: Storage
    name: str

    def mark(self, marker: str, record: FileRecord) -> None:
        """Make a written segment known."""
        put_record(self.storage, f"{self._folder}{marker}.json", record)

    def files(self) -> list[FileRecord]:
        """The files that hold the store's content now: the generation's, then later segments by marker. Lost ones are left out."""
        merged, fresh = self._state()
        return [*merged, *fresh.values()]

    def pin(self, limit: int, compact: Callable[[], object]) -> list[FileRecord]:
        """:meth:`files`, merged by ``compact`` first where there are more than ``limit`` segments."""
        if len(self._state()[1]) > limit:
            compact()
        return self.files()

    def merge(self, write: Callable[[Output, list[FileRecord]], None]) -> bool:
        """Put a new generation in the place of all that is there.

        Args:
            write: gets where to write its files (:func:`bucket_file` names them), and the files that it replaces.

        Returns:
            False if another process moved the pointer meanwhile; its generation stands, and what this one wrote is not used.
        """
        before = read_pointer(self.storage, self.name)
        merged, fresh = self._state()
        replaced = sorted({*((before or {}).get("markers", [])), *fresh})
        output = Output(self.storage, f"{self.name}/{digest(replaced)}")
        write(output, [*merged, *fresh.values()])
        wanted = {"files": [record.model_dump(mode="json") for record in output.files], "markers": replaced}
        return update_pointer(self.storage, self.name, lambda now: wanted if now == before else None) == wanted

    @property
    def _folder(self) -> str:
        return f"manifests/{self.name}/"

    def _state(self) -> tuple[list[FileRecord], dict[str, FileRecord]]:
        """The merged generation's files, and the segments that came after it, by marker."""
        pointer = read_pointer(self.storage, self.name) or {"files": [], "markers": []}
        merged = [FileRecord.model_validate(record) for record in pointer["files"]]
        if not all(is_there(self.storage, record) for record in merged):
            merged, pointer = [], {"files": [], "markers": []}
        replaced, fresh = set(pointer["markers"]), {}
        for name in self.storage.list_names(self._folder):
            marker = name.removeprefix(self._folder).removesuffix(".json")
            record = find_record(self.storage, name, FileRecord) if marker not in replaced else None
            if record is not None and is_there(self.storage, record):
                fresh[marker] = record
        return merged, fresh


def bucket_file(bucket: str) -> str:
    """The name of a generation's file."""
    return f"b={bucket}.parquet"


def may_hold(record: FileRecord, bucket: str) -> bool:
    """Whether a file may hold keys of a bucket: a segment any, a generation's file those of its own."""
    return not record.name.startswith("b=") or record.name == bucket_file(bucket)
