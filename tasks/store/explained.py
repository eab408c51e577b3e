"""What a file system refuses, as an error with a mend: room, permission, or the disk itself."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.errors import HardmineError, StorageError

_MENDS = {
    errno.ENOSPC: "free space, then run again: finished partitions are kept",
    errno.EDQUOT: "free space or raise the quota, then run again: finished partitions are kept",
    errno.EFBIG: "raise the limit on file sizes, or make partitions smaller, then run again",
    errno.EROFS: "choose a root that can be written, or mount it so",
    errno.EACCES: "choose a root that can be written, or mend its permissions",
    errno.EPERM: "choose a root that can be written, or mend its permissions",
    errno.EMFILE: "raise the limit on open files (ulimit -n), then run again",
}
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_DISK = "check the disk (the system's log tells more), then run again: finished partitions are kept"


@contextmanager
def explained(doing: str, path: Path | str) -> Iterator[None]:
    """Turn the system's errors into one that says what was done to which file, and what helps.

    Args:
        doing: a verb, such as ``write``.
        path: what it is done to.

    Raises:
        StorageError: from an :class:`OSError`. One that is a storage error already goes through.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot {doing} {path}: {error.strerror or error}", mend_of(error)) from error


@contextmanager
def written(path: Path) -> Iterator[None]:
    """A file that is being written under a name of its own: nothing is left of it if that fails.

    Raises:
        StorageError: see :func:`explained`.
    """
    try:
        with explained("write", path):
            yield
    except BaseException:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise


@contextmanager
def disk_failures(doing: str) -> Iterator[None]:
    """Find the disk's errors in those of libraries, which wrap them in errors of their own.

    Args:
        doing: what fails, as in ``build the audit``.

    Raises:
        StorageError: there is no room, or the disk cannot be written or read.
    """
    try:
        yield
    except HardmineError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else _told(str(error))
        if number not in _OF_DISKS:
            raise
        raise StorageError(f"cannot {doing}: {os.strerror(number)}", mend_of(OSError(number, ""))) from error


def _told(text: str) -> int | None:
    """The system's error that a message speaks of.

    >>> _told('Failed to commit: Could not write file "x": No space left on device') == errno.ENOSPC
    True
    """
    return next((number for number in _OF_DISKS if os.strerror(number) in text), None)


def to_disk(path: Path) -> None:
    """A file's content out of the system's memory: a loss of power takes nothing of it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def mend_of(error: OSError) -> str:
    """What helps against an error of the system.

    >>> mend_of(OSError(errno.ENOSPC, "No space left on device"))
    'free space, then run again: finished partitions are kept'
    """
    return _MENDS.get(error.errno or 0, _DISK)
