"""Files of a folder that others write, such as a trainer's: looked at, never written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SeenFile:
    """A file at the moment of looking.

    Args:
        name: relative to the folder, ``/`` between parts.
        size: bytes.
        mark: changes whenever the file is written again: its time and inode, or the ETag.
        written: seconds since 1970 at which it was last written, or came to where it is.
    """

    name: str
    size: int
    mark: str
    written: float


def look_at(folder: Path, copies: bool = True) -> list[SeenFile]:
    """All files under a local folder, by name; none where there is no such folder. What vanishes meanwhile is left out.

    Args:
        folder: where.
        copies: ``written`` is the later of the modification and the change of the inode, which a copy that keeps times does not hide;
            false: the modification alone.

    Raises:
        OSError: the folder cannot be read.
    """
    if not folder.exists():
        return []
    return sorted(_walk(folder, copies), key=lambda file: file.name)


def _walk(folder: Path, copies: bool) -> Iterator[SeenFile]:
    next(folder.iterdir(), None)  # os.walk would keep quiet about a folder that cannot be read
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place) / name
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            mark = f"{found.st_mtime_ns} {found.st_ino}"
            written = max(found.st_mtime_ns, found.st_ctime_ns) if copies else found.st_mtime_ns
            yield SeenFile(path.relative_to(folder).as_posix(), found.st_size, mark, written / 1e9)
