"""A local folder as a storage root: rename for atomic puts, a lock file for compare-and-swap."""

from __future__ import annotations

import fcntl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from typing_extensions import override

from tasks.errors import StorageError
from tasks.store.explained import explained, to_disk, written
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
        with explained("read", self._base / name):
            try:
                return (self._base / name).read_bytes()
            except FileNotFoundError:
                raise StorageError(f"{self.root}/{name} is missing", "run again: it is rebuilt from its inputs") from None

    @override
    def put_file(self, name: str, local: Path) -> None:
        target = self._base / name
        with explained("write", target):
            target.parent.mkdir(parents=True, exist_ok=True)
            local.replace(target)

    @override
    def put_bytes(self, name: str, data: bytes) -> None:
        local = self.scratch() / uuid.uuid4().hex
        with written(local):
            local.write_bytes(data)
            to_disk(local)
        self.put_file(name, local)

    @override
    def remove(self, name: str) -> None:
        with explained("delete", self._base / name):
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
        with explained("list", self.root):
            return look_at(self._base, copies=False)

    @override
    def size(self, name: str) -> int | None:
        with explained("look at", self._base / name):
            try:
                return (self._base / name).stat().st_size
            except (FileNotFoundError, NotADirectoryError):
                return None

    @override
    def _names(self, prefix: str) -> list[str]:
        with explained("list", self._base / prefix):
            return [path.relative_to(self._base).as_posix() for path in (self._base / prefix).rglob("*") if path.is_file()]

    @override
    def checksum(self, name: str) -> str:
        with explained("read", self._base / name):
            return file_checksum(self._base / name)

    @override
    def local_copy(self, name: str, size: int, checksum: str) -> Path:
        path = self._base / name
        if not path.exists():
            raise StorageError(f"{path} is missing", "run again: it is rebuilt from its inputs")
        return path

    @override
    def scratch(self) -> Path:
        folder = self._base / "tmp"
        with explained("write", folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    @override
    def read_pointer(self, name: str) -> tuple[bytes | None, str]:
        with explained("read", self._base / name):
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
        with explained("write", lock):
            lock.parent.mkdir(parents=True, exist_ok=True)
            handle = lock.open("a")
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
