"""What a partition writes: files that become visible one by one and count only once the manifest names them."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.store.explained import explained, written
from tasks.store.keys import file_checksum
from tasks.store.manifest import FileRecord
from tasks.store.storage import Storage
from tasks.store.tables import ROW_GROUP, write_parquet


class Output:
    """Collects one partition's files, counters and facts. Files go under ``folder`` of the storage root."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage = storage
        self._folder = folder
        self.files: list[FileRecord] = []
        self.counters: dict[str, int] = {}
        self.meta: dict[str, Any] = {}

    def table(self, name: str, table: pa.Table, row_group: int = ROW_GROUP) -> None:
        """Write a Parquet file."""
        local = self._scratch()
        with written(local):
            write_parquet(table, local, row_group)
        self._put(name, local, table.num_rows)

    def array(self, name: str, array: NDArray[Any]) -> None:
        """Write a ``.npy`` file."""
        local = self._scratch()
        with written(local), local.open("wb") as handle:
            np.save(handle, array, allow_pickle=False)
        self._put(name, local, len(array))

    @contextmanager
    def filled_array(self, name: str, shape: tuple[int, ...], dtype: Any) -> Iterator[NDArray[Any]]:
        """A ``.npy`` file whose content is set meanwhile, piece by piece: it need not fit into memory. Bytes as of :meth:`array`."""
        if 0 in shape:  # nothing to map
            self.array(name, np.empty(shape, dtype=dtype))
            yield np.empty(shape, dtype=dtype)
            return
        local = self._scratch()
        with written(local):
            array = np.lib.format.open_memmap(local, mode="w+", dtype=dtype, shape=shape)
            with local.open("r+b") as handle:
                os.posix_fallocate(handle.fileno(), 0, local.stat().st_size)  # a full disk shows here, and not as a crash
            yield array
            array.flush()
        self._put(name, local, shape[0])

    def data(self, name: str, data: bytes, rows: int | None = None) -> None:
        """Write bytes as they are."""
        local = self._scratch()
        with written(local):
            local.write_bytes(data)
        self._put(name, local, rows)

    def file(self, name: str, local: Path, rows: int | None = None) -> None:
        """Take a local file, which is consumed."""
        taken = self._scratch()
        with written(taken):
            shutil.move(local, taken)
        self._put(name, taken, rows)

    def count(self, **counters: int) -> None:
        """Add to the partition's counters, such as model_calls and cache_hits."""
        for name, value in counters.items():
            self.counters[name] = self.counters.get(name, 0) + int(value)

    def _scratch(self) -> Path:
        return self._storage.scratch() / uuid.uuid4().hex

    def _put(self, name: str, local: Path, rows: int | None) -> None:
        path = f"{self._folder}/{name}"
        with explained("read", local):
            record = FileRecord(name=name, path=path, bytes=local.stat().st_size, checksum=file_checksum(local), rows=rows)
        self._storage.put_file(path, local)
        self.files.append(record)
