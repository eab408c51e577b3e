"""A local folder as a storage root: rename for atomic puts, a lock file for compare-and-swap."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from typing_extensions import override

from tasks.errors import StorageError
from tasks.store.keys import bytes_checksum, file_checksum
from tasks.store.seen import SeenFile, look_at
from tasks.store.storage import Storage


class LocalStorage(Storage):
    """Files under one folder. See :class:`tasks.store.storage.Storage`."""

    is_local = True

    def __init__(self, root: str) -> None:
        base = Path(root).expanduser().absolute()
        try:
            base.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"root {base}: {error.strerror}", "choose a folder that can be written") from error
        self.root = str(base)
        self._base = base

    @override
    def read_bytes(self, name: str) -> bytes:
        try:
            return (self._base / name).read_bytes()
        except FileNotFoundError:
            raise StorageError(f"{self.root}/{name} is missing", "run again: it is rebuilt from its inputs") from None

    @override
    def put_file(self, name: str, local: Path) -> None:
        target = self._base / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            local.replace(target)
        except OSError as error:
            raise StorageError(f"cannot write {target}: {error.strerror}", "free space or mend permissions, then run again") from error

    @override
    def put_bytes(self, name: str, data: bytes) -> None:
        local = self.scratch() / uuid.uuid4().hex
        try:
            with local.open("wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            local.unlink(missing_ok=True)
            raise StorageError(f"cannot write {local}: {error.strerror}", "free space or mend permissions, then run again") from error
        self.put_file(name, local)

    @override
    def remove(self, name: str) -> None:
        (self._base / name).unlink(missing_ok=True)

    @override
    def set_aside(self, name: str) -> None:
        target = self._base / "damaged" / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            (self._base / name).replace(target)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageError(
                f"{self.root}/{name} is damaged, and cannot be moved: {error.strerror}", "delete it, then run again"
            ) from error

    @override
    def walk(self) -> list[SeenFile]:
        try:
            return look_at(self._base, copies=False)
        except OSError as error:
            raise StorageError(f"root {self.root}: {error.strerror}", "choose a folder that can be read") from error

    @override
    def size(self, name: str) -> int | None:
        try:
            return (self._base / name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    @override
    def _names(self, prefix: str) -> list[str]:
        folder = self._base / prefix
        return [path.relative_to(self._base).as_posix() for path in folder.rglob("*") if path.is_file()]

    @override
    def checksum(self, name: str) -> str:
        try:
            return file_checksum(self._base / name)
        except OSError as error:
            raise StorageError(f"cannot read {self.root}/{name}: {error.strerror}", "check the disk and the permissions") from error

    @override
    def local_copy(self, name: str, size: int, checksum: str) -> Path:
        path = self._base / name
        if not path.exists():
            raise StorageError(f"{path} is missing", "run again: it is rebuilt from its inputs")
        return path

    @override
    def scratch(self) -> Path:
        folder = self._base / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @override
    def read_pointer(self, name: str) -> tuple[bytes | None, str]:
        try:
            data = (self._base / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None, ""
        return data, bytes_checksum(data)

    @override
    def move_pointer(self, name: str, data: bytes, token: str) -> bool:
        with self._locked(name):
            if self.read_pointer(name)[1] != token:
                return False
            self.put_bytes(name, data)
            return True

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        lock = self._base / "leases" / f"{name.rpartition('/')[0]}.lock"  # one a folder: lock files stay
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            handle = lock.open("a")
        except OSError as error:
            raise StorageError(f"cannot write {lock}: {error.strerror}", "free space or mend permissions, then run again") from error
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
