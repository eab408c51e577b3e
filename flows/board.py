"""What a stream tells its copies in a loader's workers: a small file of this machine, since a persistent worker keeps its copy for ever."""

from __future__ import annotations

import json
import os
import tempfile
import weakref
from pathlib import Path
from typing import Any


class Board:
    """The last thing that was told, and its number.

    Copies of it, pickled or forked, read what the process that made it writes. A copy that writes has a file of its own from then on.

    Args:
        owner: an object that the file goes with.
    """

    def __init__(self, owner: object) -> None:
        self._begin(owner)

    def tell(self, owner: object, told: dict[str, Any]) -> int:
        """Write something anew, as JSON; returns its number, from 1."""
        if self._process != os.getpid():
            self._begin(owner)
        self._number += 1
        making = self._path.with_suffix(".new")
        making.write_text(json.dumps({"number": self._number, "told": told}), encoding="utf-8")
        making.replace(self._path)
        return self._number

    def told(self) -> tuple[int, dict[str, Any]]:
        """The number of what was told last, and what that was."""
        found = json.loads(self._path.read_text(encoding="utf-8"))
        return int(found["number"]), dict(found["told"])

    def _begin(self, owner: object) -> None:
        handle, name = tempfile.mkstemp(prefix="hardmine-stream-", suffix=".json")
        os.close(handle)
        self._path, self._number, self._process = Path(name), 0, os.getpid()
        weakref.finalize(owner, _remove, name, self._process)


def _remove(name: str, process: int) -> None:
    """Take the file away, but not from a forked child."""
    if os.getpid() == process:
        Path(name).unlink(missing_ok=True)
