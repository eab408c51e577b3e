"""Disks that fail: full, read-only, with read errors. The first two are real file systems in a mount namespace of their own."""

from __future__ import annotations

import builtins
import ctypes
import errno
import io
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

Disk = Literal["full", "read-only", "errors", "short reads"]
_NEW_MOUNTS, _NEW_USER = 0x20000, 0x10000000
_READ_ONLY, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 32, 4096, 16384, 1 << 18


def own_mounts() -> None:
    """A mount namespace for this process and its children; of a user's own where it is not root's.

    Raises:
        OSError: the system does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    _call("unshare", _NEW_MOUNTS | (0 if user == 0 else _NEW_USER))
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _mount("none", Path("/"), None, _REC | _PRIVATE)


def small_disk(folder: Path, room: int) -> Callable[[], None]:
    """An empty file system of so many bytes at a folder; gives what makes it large."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("none", folder, "tmpfs", 0, f"size={room}")
    return lambda: _mount("none", folder, "tmpfs", _REMOUNT, f"size={1 << 30}")


def read_only(folder: Path) -> Callable[[], None]:
    """Make a folder read-only; gives what makes it writable again."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount(str(folder), folder, None, _BIND)
    _mount("none", folder, None, _REMOUNT | _BIND | _READ_ONLY)
    return lambda: _mount("none", folder, None, _REMOUNT | _BIND)


def faulty_files(folder: Path, share: float, seed: int, short: bool) -> None:
    """Fault injection in this process: a share of the openings of files under a folder fails with EIO, or gives half of the bytes.

    Only what Python opens is met: Arrow and DuckDB read files that were compared with their checksums before.
    """
    draw, whole = random.Random(seed), io.open

    def opened(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        ours = isinstance(file, str | os.PathLike) and str(file).startswith(f"{folder}/") and "leases" not in str(file)
        if not ours or draw.random() >= share:
            return whole(file, mode, *rest, **named)
        if not short:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))
        if "w" in mode or "a" in mode or "+" in mode or str(file).endswith(".npy"):  # arrays are mapped, which is no reading
            return whole(file, mode, *rest, **named)
        with whole(file, "rb") as handle:
            data = handle.read()
        return io.BytesIO(data[: len(data) // 2]) if "b" in mode else io.StringIO(data[: len(data) // 2].decode(errors="ignore"))

    io.open = builtins.open = opened  # type: ignore[assignment]


def _mount(source: str, target: Path, kind: str | None, flags: int, options: str = "") -> None:
    _call("mount", source.encode(), os.fsencode(target), kind.encode() if kind else None, ctypes.c_ulong(flags), options.encode() or None)


def _call(name: str, *arguments: Any) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
