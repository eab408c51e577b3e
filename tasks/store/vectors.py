"""Stored vectors by address: what the embed stages wrote, read where it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import let_go, read_array

Addressed = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""Vectors, shape (k, dim), by partition and row there, each of shape (k,)."""


def stored_vectors(storage: Storage, parts: Sequence[Part]) -> Addressed:
    """Vectors of partitioned texts, from memory-mapped files.

    Args:
        storage: the root.
        parts: of ``embed-documents`` or ``embed-queries``, in order: partitions are counted from 0.
    """
    arrays = [read_array(storage, part.file("vectors.npy")) for part in parts]

    def fetch(partition: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.float32]:
        found = np.zeros((len(row), arrays[0].shape[1]), np.float32)
        for number in np.unique(partition).tolist():
            mine = np.flatnonzero(partition == number)
            rows, back = np.unique(row[mine], return_inverse=True)
            found[mine] = arrays[number][rows][back]
            let_go(arrays[number])
        return found

    return fetch
