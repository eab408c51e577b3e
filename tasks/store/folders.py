"""Folders beside the root: the user's cache, and folders that are there in full or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """HARDMINE_CACHE, else ``hardmine`` under XDG_CACHE_HOME, else ~/.cache/hardmine."""
    if os.environ.get("HARDMINE_CACHE"):
        return Path(os.environ["HARDMINE_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hardmine"


def whole_folder(target: Path, fill: Callable[[Path], object]) -> Path:
    """A folder, filled under another name and then renamed. One that is there stays, also where another process makes it meanwhile.

    Args:
        target: the folder.
        fill: writes into the folder that it is given.

    Raises:
        OSError: it cannot be written.
    """
    if target.is_dir():
        return target
    making = target.parent / f".{uuid.uuid4().hex}"
    making.mkdir(parents=True)
    try:
        fill(making)
        making.rename(target)
    except OSError:
        if not target.is_dir():  # no other process was first
            raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return target
