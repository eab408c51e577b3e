"""Known vectors: those of every text that a model ever embedded, found by the text's hash, wherever their partition lies.

What is found changes no output, since a vector depends on its text alone (decision record 2): only what it costs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tasks.embed.index import compact, look_up
from tasks.embed.reuse import Hashes, Ints, Vectors, as_bytes, match
from tasks.embed.segments import Pinned, fresh_segments, present_generation, read_generation
from tasks.errors import StorageError
from tasks.store.manifest import FileRecord
from tasks.store.storage import Storage
from tasks.store.tables import read_array, read_table

MAX_SEGMENTS = 16


def pin(storage: Storage, space: str, limit: int = MAX_SEGMENTS) -> Pinned:
    """What is known now, merged first where there are more than ``limit`` segments. Files that are gone are left out."""
    record, generation = present_generation(storage, space)
    fresh = fresh_segments(storage, space, generation)
    if len(fresh) > limit:
        compact(storage, space)
        record, generation = present_generation(storage, space)
        fresh = fresh_segments(storage, space, generation)
    return Pinned(generation=record, fresh=tuple(fresh.values()))


def find(storage: Storage, pinned: Pinned, wanted: Hashes) -> tuple[Ints, Vectors | None]:
    """Vectors that are known.

    Args:
        storage: the root.
        pinned: where to look.
        wanted: shape (n,): hashes, each once.

    Returns:
        Places in ``wanted`` that are known, int64, shape (k,), and their vectors, shape (k, dim); ``None`` where none is.
        Vectors whose file is gone count as unknown.
    """
    places: list[Ints] = []
    vectors: list[Vectors] = []
    left = np.ones(len(wanted), dtype=bool)
    for record, at, rows in _matches(storage, pinned, wanted):
        new = left[at]
        if not new.any():
            continue
        try:
            taken = np.asarray(read_array(storage, record)[rows[new]])
        except StorageError:
            continue
        places.append(at[new])
        vectors.append(taken)
        left[at[new]] = False
        if not left.any():
            break
    return (np.concatenate(places), np.concatenate(vectors)) if places else (np.empty(0, dtype=np.int64), None)


def how_many(storage: Storage, space: str, wanted: Hashes) -> int:
    """Of some texts, by hashes that are each there once, those whose vectors are known. No vector is read, and nothing is merged."""
    record, generation = present_generation(storage, space)
    pinned = Pinned(generation=record, fresh=tuple(fresh_segments(storage, space, generation).values()))
    left = np.ones(len(wanted), dtype=bool)
    for _, at, _ in _matches(storage, pinned, wanted):
        left[at] = False
    return int((~left).sum())


def facts(storage: Storage, pinned: Pinned) -> tuple[int, str] | None:
    """Dimension and similarity of the known vectors; ``None``: nothing is known."""
    if pinned.fresh:
        return pinned.fresh[0].dim, pinned.fresh[0].similarity
    generation = read_generation(storage, pinned.generation)
    return (generation.dim, generation.similarity) if generation.index else None


def _matches(storage: Storage, pinned: Pinned, wanted: Hashes) -> Iterator[tuple[FileRecord, Ints, Ints]]:
    """Vectors' files with places in ``wanted`` and rows: of the fresh segments, then of the index."""
    if not len(wanted):
        return
    for segment in pinned.fresh:
        try:
            row = match(wanted, as_bytes(read_table(storage, segment.hashes)["input_hash"]))
        except StorageError:
            continue
        at = np.flatnonzero(row >= 0)
        yield segment.vectors, at, row[at]
    generation = read_generation(storage, pinned.generation)
    try:
        at, part, rows = look_up(storage, generation, wanted)
    except StorageError:
        return
    for number in np.unique(part).tolist():
        here = part == number
        yield generation.vectors[number], at[here], rows[here]
