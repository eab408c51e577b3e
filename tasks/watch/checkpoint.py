"""Checkpoints among the files of a folder, and whether each is complete. Nothing is read but names, sizes and times."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from tasks.models.fingerprint import matters
from tasks.store.keys import digest
from tasks.store.seen import SeenFile
from tasks.watch.settings import WatchSettings

_CONFIGURATIONS = ("config.json", "modules.json")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
_UNFINISHED = (".", "tmp-")  # how trainers and copying tools call folders that they will rename
_NUMBER = re.compile(r"(\d+)\D*$")


@dataclass(frozen=True)
class Checkpoint:
    """A sub-folder that holds a model, or the beginning of one.

    Args:
        name: of the sub-folder.
        files: what is in it, named relative to it, by name.
    """

    name: str
    files: tuple[SeenFile, ...]

    @cached_property
    def signature(self) -> str:
        """32 hex digits: another one as soon as a file is added, removed or written again."""
        return digest([[file.name, file.size, file.mark] for file in self.files])

    @property
    def written(self) -> float:
        """Seconds since 1970 at which the model's own files were last written; of all files where none is the model's."""
        own = [file.written for file in self.files if matters(Path(file.name))]
        return max(own or [file.written for file in self.files])

    @property
    def step(self) -> int:
        """The last number in the name, -1 where there is none."""
        found = _NUMBER.search(self.name)
        return int(found[1]) if found else -1

    def order(self, newest_by: str) -> tuple[float, float, str]:
        """What sorts checkpoints from old to new."""
        return order_of(self.name, self.step, self.written, newest_by)

    @property
    def _names(self) -> set[str]:
        return {file.name for file in self.files}

    def waits_for(self, settings: WatchSettings, still: float) -> str | None:
        """What is missing until the checkpoint is complete; ``None`` if it is.

        A marker counts at once if no other file is younger than it: one left over from an earlier content does not.

        Args:
            settings: of the watch.
            still: seconds for which it has not changed.
        """
        names = self._names
        if not any(name in names for name in _CONFIGURATIONS):
            return "config.json or modules.json"
        if not any(PurePosixPath(name).suffix in _WEIGHTS for name in names):
            return "its weights"
        marked = [file for file in self.files if file.name in settings.markers]
        if settings.marker_needed and not marked:
            return f"the marker {settings.marker}"
        others = max((file.written for file in self.files if file.name not in settings.markers), default=0.0)
        if any(file.written >= others for file in marked) or still >= settings.stable_for:
            return None
        return f"{settings.stable_for:g} s without a change"


def order_of(name: str, step: int, written: float, newest_by: str) -> tuple[float, float, str]:
    """What sorts checkpoints from old to new: by the time of writing or by the step, then by the other, then by name."""
    return (step, written, name) if newest_by == "step" else (written, step, name)


def checkpoints(files: Iterable[SeenFile]) -> list[Checkpoint]:
    """The sub-folders that hold a model or the beginning of one: a configuration or safetensors. By name.

    Folders whose names begin with a dot or ``tmp-`` are left alone: their writer will rename them.
    """
    folders: dict[str, list[SeenFile]] = {}
    for file in files:
        folder, slash, name = file.name.partition("/")
        if slash and not folder.startswith(_UNFINISHED):
            folders.setdefault(folder, []).append(SeenFile(name, file.size, file.mark, file.written))
    found = [Checkpoint(folder, tuple(sorted(inside, key=lambda file: file.name))) for folder, inside in sorted(folders.items())]
    return [one for one in found if any(_of_a_model(file.name) for file in one.files)]


def _of_a_model(name: str) -> bool:
    return name in _CONFIGURATIONS or name.endswith(".safetensors")


class Stillness:
    """Since when each checkpoint has been as it is now, by the watcher's own clock."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[str, float]] = {}

    def update(self, present: Iterable[Checkpoint], now: float) -> Mapping[str, float]:
        """Seconds for which each has not changed, by name.

        Args:
            present: all that are there now.
            now: seconds on a clock that never goes back.
        """
        before = self._since
        self._since = {}
        for one in present:
            signature, since = before.get(one.name, ("", now))
            self._since[one.name] = (one.signature, since if signature == one.signature else now)
        return {name: now - since for name, (_, since) in self._since.items()}
