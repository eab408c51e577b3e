"""Storage roots: one small interface over a local folder or an S3 prefix.

Files are immutable: each is put under its final name in one step. Pointers are the only names whose
content changes, and they change by compare-and-swap. Only ``manifests/`` and ``leases/`` are listed, and by maintenance all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from tasks.errors import StorageError
from tasks.store.explained import explained, to_disk
from tasks.store.keys import file_checksum
from tasks.store.seen import SeenFile

LISTABLE = ("manifests/", "leases/")


class Storage(ABC):
    """A root under which relative names (``/`` between parts) hold bytes."""

    root: str
    is_local: bool  # whether files are used where they lie, and not fetched

    @abstractmethod
    def read_bytes(self, name: str) -> bytes:
        """Content of a file.

        Raises:
            StorageError: there is no such file, or it cannot be read.
        """

    @abstractmethod
    def put_file(self, name: str, local: Path) -> None:
        """Make ``local``'s content visible as ``name``, whole or not at all. ``local`` is consumed."""

    @abstractmethod
    def put_bytes(self, name: str, data: bytes) -> None:
        """Like :meth:`put_file`, from memory."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Delete a file; nothing happens where there is none."""

    @abstractmethod
    def set_aside(self, name: str) -> None:
        """Move a damaged file to ``damaged/<name>``, so that it counts as missing; nothing happens where it is gone already."""

    @abstractmethod
    def walk(self) -> list[SeenFile]:
        """All files under the root, by name: for maintenance, and for folders that others write. Nothing else depends on it.

        Raises:
            StorageError: it cannot be listed.
        """

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes in a file, ``None`` where there is none."""

    @abstractmethod
    def _names(self, prefix: str) -> list[str]:
        """All file names under a prefix."""

    @abstractmethod
    def checksum(self, name: str) -> str:
        """xxh128 of what is stored now, read through.

        Raises:
            StorageError: there is no such file, or it cannot be read.
        """

    @abstractmethod
    def local_copy(self, name: str, size: int, checksum: str) -> Path:
        """A local path with the content of an immutable file (the file itself for a local root)."""

    @abstractmethod
    def scratch(self) -> Path:
        """A local folder for files that are about to be put."""

    @abstractmethod
    def read_pointer(self, name: str) -> tuple[bytes | None, str]:
        """A pointer's content (``None``: not there) and the token to move it with."""

    @abstractmethod
    def move_pointer(self, name: str, data: bytes, token: str) -> bool:
        """Set a pointer if it is still what ``token`` stands for; false: somebody else moved it."""

    def list_names(self, prefix: str) -> list[str]:
        """Sorted names under ``manifests/…`` or ``leases/…``; nothing else may be listed."""
        if not prefix.startswith(LISTABLE):
            raise ValueError(f"only {LISTABLE} may be listed, not {prefix!r}")
        return sorted(self._names(prefix))


def open_storage(root: str) -> Storage:
    """The storage for a root: ``s3://bucket/prefix`` or a local folder (made if missing).

    Raises:
        StorageError: the folder cannot be made, or the scheme is unknown.
    """
    if root.startswith("s3://"):
        from tasks.store.s3 import S3Storage

        return S3Storage(root)
    if "://" in root:
        raise StorageError(f"root {root!r}: unknown scheme", "use a local folder or s3://bucket/prefix")
    from tasks.store.local import LocalStorage

    return LocalStorage(root)


def keep_file(storage: Storage, folder: str, local: Path) -> tuple[str, int, str]:
    """Put a file under the root by its content, as ``<folder>/<checksum><ending>``: equal ones are kept once. ``local`` is consumed.

    Returns:
        (path under the root, bytes, checksum).
    """
    checksum, size = file_checksum(local), local.stat().st_size
    path = f"{folder}/{checksum}{local.suffix}"
    if storage.size(path) == size and storage.checksum(path) == checksum:
        local.unlink()
    else:
        with explained("write", local):
            to_disk(local)  # it may be what a person gave: nothing rebuilds it
        storage.put_file(path, local)
    return path, size, checksum


def checked_copy(storage: Storage, name: str, size: int, checksum: str, verify: bool = True) -> Path:
    """A local copy whose size and checksum are the recorded ones. The checksum is taken once a process, while the file stays as it is.

    Args:
        storage: the root.
        name: of the file.
        size: bytes.
        checksum: xxh128.
        verify: false: the size alone, of a file that checks itself.

    Raises:
        StorageError: the file is missing, or not what was written. A damaged one is set aside: it is rebuilt by the next run.
    """
    path = storage.local_copy(name, size, checksum)
    with explained("read", path):
        if not _is_sound(path, size, checksum, verify) and not storage.is_local:
            path.unlink(missing_ok=True)  # it may be the copy that is damaged
            path = storage.local_copy(name, size, checksum)
        if not _is_sound(path, size, checksum, verify):
            storage.set_aside(name)
            raise StorageError(
                f"{storage.root}/{name} was damaged: it is not what was written", "it is set aside as damaged/…; run again: it is rebuilt"
            )
        return path


_SOUND: set[tuple[str, int, int, int, str]] = set()


def _is_sound(path: Path, size: int, checksum: str, verify: bool) -> bool:
    found = path.stat()
    known = (str(path), found.st_ino, found.st_size, found.st_mtime_ns, checksum)
    if found.st_size != size or not verify or known in _SOUND:
        return found.st_size == size
    if file_checksum(path) != checksum:
        return False
    _SOUND.add(known)
    return True
