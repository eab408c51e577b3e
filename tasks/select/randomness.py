"""Randomness as a column: uniform numbers that depend on names only, never on order, partition or process.

``u = mix(xxh3(prefix), xxh3(query_id), xxh3(doc_id), …)``: each id is hashed once, the combination is SplitMix64's
finaliser on whole arrays. See docs/decisions/0003-randomness.md.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from tasks.store.keys import digest

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def id_hashes(ids: pa.ChunkedArray | pa.Array) -> NDArray[np.uint64]:
    """xxh3 of each id, shape (n,); a repeated id is hashed once."""
    encoded = (ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids).dictionary_encode()
    distinct = [xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogatepass")) for name in encoded.dictionary.to_pylist()]
    hashes: NDArray[np.uint64] = np.array(distinct, dtype=np.uint64)[encoded.indices.to_numpy(zero_copy_only=False)]
    return hashes


def uniform(prefix: list[str | int], *hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Uniform numbers in (0, 1), shape (n,), for a purpose (``prefix``) and hashed ids, in that order."""
    state = np.full(hashes[0].shape, int(digest(prefix)[:16], 16), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for column in hashes:
            state = _mix(state + _GOLDEN + column)
    numbers: NDArray[np.float64] = ((state >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    return numbers


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))
