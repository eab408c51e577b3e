"""Segments of known vectors, and which of them there are.

A segment is the ``hashes.parquet`` and ``vectors.npy`` that some embed partition wrote; both are immutable. A marker under
``manifests/vectors/<space>/`` names them; a space is one model in one role with one stored dtype. The marker is put after
the files and before the partition's manifest, as in the pair store: it never names what is not there, and a committed
partition always has one. A generation is the index of many segments (:mod:`tasks.embed.index`).
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.errors import StorageError
from tasks.store.manifest import FileRecord, is_there
from tasks.store.pointers import read_pointer
from tasks.store.seal import find_record, put_record
from tasks.store.storage import Storage
from tasks.store.tables import local_file


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Segment(_Record):
    """Vectors of one partition, and what they are of.

    ``hashes``: ``input_hash``, row-aligned with ``vectors``; ``similarity``: by which the model compares.
    """

    hashes: FileRecord
    vectors: FileRecord
    dim: int
    similarity: str


class Generation(_Record):
    """Merged segments: index files by bucket, the vectors' files by number, and the markers that they replace."""

    index: tuple[FileRecord, ...] = ()
    vectors: tuple[FileRecord, ...] = ()
    markers: tuple[str, ...] = ()
    dim: int = 0
    similarity: str = ""


class Pinned(_Record):
    """The known vectors at one moment: what a stage's jobs look in."""

    generation: FileRecord | None = None
    fresh: tuple[Segment, ...] = ()


def space_of(fingerprint: str, vector_dtype: str) -> str:
    """The name of a model's vectors in one stored dtype."""
    return f"{fingerprint}-{vector_dtype}"


def put_marker(storage: Storage, space: str, key: str, segment: Segment) -> None:
    """Make written vectors known.

    Args:
        storage: the root.
        space: see :func:`space_of`.
        key: of the partition that wrote them.
        segment: its files.
    """
    put_record(storage, f"{_folder(space)}{key}.json", segment)


def present_generation(storage: Storage, space: str) -> tuple[FileRecord | None, Generation]:
    """The generation that the pointer names; an empty one where its index is not there as a whole."""
    pointer = read_pointer(storage, pointer_name(space))
    if pointer is None:
        return None, Generation()
    record = FileRecord.model_validate(pointer["generation"])
    generation = read_generation(storage, record)
    return (record, generation) if generation.index and all(is_there(storage, one) for one in generation.index) else (None, Generation())


def read_generation(storage: Storage, record: FileRecord | None) -> Generation:
    """A generation by its file; an empty one where the file is gone."""
    try:
        return Generation.model_validate_json(local_file(storage, record).read_bytes()) if record else Generation()
    except StorageError:
        return Generation()


def fresh_segments(storage: Storage, space: str, generation: Generation) -> dict[str, Segment]:
    """The segments that came after a generation, by marker, as far as their files are there."""
    replaced = set(generation.markers)
    found = {}
    for name in storage.list_names(_folder(space)):
        marker = name.removeprefix(_folder(space)).removesuffix(".json")
        if marker not in replaced:
            segment = find_record(storage, name, Segment)
            if segment is not None and is_there(storage, segment.hashes) and is_there(storage, segment.vectors):
                found[marker] = segment
    return found


def pointer_name(space: str) -> str:
    """The pointer that names a space's generation."""
    return f"vectors/{space}"


def _folder(space: str) -> str:
    return f"manifests/vectors/{space}/"
