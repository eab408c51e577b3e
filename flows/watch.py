"""Rounds for an external trainer: whenever a checkpoint is complete, the newest one is mined (ANCE's way).

Each one takes the next chunk of the queries, and the dataset's first round gives the trained teacher, as in :mod:`flows.rounds`.
One loop, one round at a time. A checkpoint's fate is decided by its content: what was mined is not mined again under another name.
A checkpoint that fails is left alone until its files change; a failure of the storage is tried again later.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from flows.mine import mine
from flows.settings import MineSettings
from tasks.audit.latest import read_latest
from tasks.audit.records import RoundRecord, list_rounds
from tasks.errors import GateError, HardmineError, InputError, ModelError, UsageError
from tasks.models.fingerprint import folder_digest
from tasks.models.location import check_weight_names
from tasks.runner.runner import Progress
from tasks.store.manifest import read_stage
from tasks.store.storage import Storage, open_storage
from tasks.watch.alone import only_watcher
from tasks.watch.checkpoint import Checkpoint, Stillness
from tasks.watch.memory import Mined, add_mined, read_mined
from tasks.watch.places import Changed, Place
from tasks.watch.settings import WatchSettings
from tasks.watch.weights import check_whole

_AFTER_TROUBLE = 60.0
_NOT_TRAINING = ("depth", "pairs_per_partition", "activation")  # settings of a teacher that do not change what it is trained to
_OWN_FAULT = (ModelError, InputError, GateError)
Kind = Literal["waiting", "started", "mined", "skipped", "refused", "failed", "trouble"]


class Event(BaseModel):
    """What the watcher tells: one line each."""

    model_config = ConfigDict(frozen=True)
    event: Kind
    message: str
    mend: str = ""
    checkpoint: str | None = None
    round: str | None = None
    seconds: float | None = None
    latest: int | None = None  # the round that the trainer's pointer names


class Listener(Protocol):
    """Who is told."""

    def tell(self, event: Event) -> None:
        """Something happened, or the watcher waits for something else than before."""

    def unexpected(self, error: Exception) -> str:
        """Keep the details of a failure that has no words of its own; where they are."""


@dataclass(frozen=True)
class _Look:
    """The checkpoints at one moment: complete ones, the newest first, and what the others wait for."""

    complete: list[Checkpoint]
    waiting: dict[str, str]


class Watcher:
    """Mines the checkpoints of one place with one run's settings.

    Args:
        settings: of the run; ``model.path`` is replaced.
        place: where checkpoints appear.
        options: of the watch.
        listener: who is told.
        progress: who shows a round's progress.
    """

    def __init__(
        self,
        settings: MineSettings,
        place: Place,
        options: WatchSettings,
        listener: Listener,
        progress: Callable[[], AbstractContextManager[Progress]],
    ) -> None:
        self._settings, self._place, self._options = settings, place, options
        self._listener, self._progress = listener, progress
        self._storage = open_storage(settings.root)
        self._dataset = settings.dataset.name
        self._mined = read_mined(self._storage, self._dataset)
        self._still = Stillness()
        self._contents: dict[str, str] = {}  # content by signature
        self._failed: set[str] = set()  # signatures
        self._told: set[tuple[str, str]] = set()
        self._waits = ""
        self._pause_until = 0.0

    def run(self, once: bool) -> bool:
        """Watch until interrupted, or look once.

        Args:
            once: look once, start a round if there is something to mine, and end. Whether a checkpoint is still changing
                is then told by its files' own times.

        Returns:
            Whether nothing failed.

        Raises:
            UsageError: a setting is wrong, or another watcher is at work.
            StorageError: the place or the root cannot be read at the first look; with ``once``, also what a round met.
        """
        with only_watcher(self._storage, self._dataset) as check:
            busy = self._turn(once)
            while not once:
                if not busy:
                    time.sleep(self._options.poll)
                check()
                try:
                    busy = self._turn(once)
                except UsageError:
                    raise
                except HardmineError as error:
                    self._trouble(error)
                    busy = False
        return not self._failed

    def _turn(self, once: bool) -> bool:
        """Look, and mine what is next; whether a round was tried."""
        if time.monotonic() < self._pause_until:
            return False
        look = self._look(once)
        chosen = self._choose(look.complete)
        if chosen is None:
            self._wait(look)
            return False
        checkpoint, folder, content = chosen
        self._mine(checkpoint, folder, content, once)
        return True

    def _look(self, once: bool) -> _Look:
        present = self._place.look()
        still = self._still.update(present, time.monotonic())
        complete, waiting = [], {}
        for one in present:
            age = time.time() - max(file.written for file in one.files) if once else still[one.name]
            missing = one.waits_for(self._options, age)
            if missing is None:
                complete.append(one)
            else:
                waiting[one.name] = missing
        complete.sort(key=lambda one: one.order(self._options.newest_by), reverse=True)
        return _Look(complete, waiting)

    def _choose(self, complete: list[Checkpoint]) -> tuple[Checkpoint, Path, str] | None:
        """The newest one that can be mined and is newer than all that were; the rest is skipped."""
        found = None
        newest = max((one.order(self._options.newest_by) for one in self._mined.values() if one.place == self._place.name), default=None)
        for place, one in enumerate(complete):
            if one.signature in self._failed:
                continue
            if newest is not None and one.order(self._options.newest_by) < newest:
                self._skip(complete[place:])
                break
            try:
                found = self._examine(one)
            except Changed:
                continue
            except ModelError as error:
                self._fail(one, error, "refused")
                continue
            self._skip(complete[place + 1 :], one.name)
            break
        return found

    def _examine(self, one: Checkpoint) -> tuple[Checkpoint, Path, str] | None:
        """A checkpoint as a folder, with its content's fingerprint; none if that was mined already.

        Raises:
            ModelError: it cannot be mined.
            Changed: it is being written, or removed.
        """
        if one.signature not in self._contents:
            check_weight_names((file.name for file in one.files), one.name)
            folder = self._place.bring(one)
            try:
                check_whole(folder, one.name)
                self._contents[one.signature] = folder_digest(folder)
            except FileNotFoundError as error:
                raise Changed(one.name) from error
        content = self._contents[one.signature]
        before = self._mined.get(content)
        if before is None:
            return one, self._place.bring(one), content
        if before.name != one.name:
            self._once(one, "skipped", f"{one.name} is the same model as {before.name}, which gave round {self._dataset}/{before.round}")
        return None

    def _mine(self, one: Checkpoint, folder: Path, content: str, once: bool) -> None:
        self._waits = ""
        self._listener.tell(Event(event="started", checkpoint=one.name, message=f"a round with {one.name}"))
        settings = self._settings.with_checkpoint(str(folder), len(self._mined))
        began = time.monotonic()
        try:
            with self._progress() as progress:
                result = mine(settings, progress, earlier_teachers(self._storage, settings))
        except UsageError:
            raise
        except _OWN_FAULT as error:
            self._fail(one, error, "failed")
        except HardmineError as error:
            if once:
                raise
            self._trouble(error)
        except Exception as error:
            self._fail(one, HardmineError(f"{type(error).__name__}: {error}", self._listener.unexpected(error)), "failed")
        else:
            self._remember(one, content, result.number)
            latest = (read_latest(self._storage, self._dataset) or {}).get("round")
            seconds = round(time.monotonic() - began, 1)
            message = f"{result.round} with {one.name} in {seconds:,.1f} s; the pointer names round {latest}"
            self._listener.tell(
                Event(event="mined", checkpoint=one.name, round=result.round, seconds=seconds, latest=latest, message=message)
            )

    def _remember(self, one: Checkpoint, content: str, number: int) -> None:
        created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        mined = Mined(name=one.name, place=self._place.name, written=one.written, step=one.step, round=number, created=created)
        self._mined = add_mined(self._storage, self._dataset, content, mined)

    def _skip(self, older: list[Checkpoint], newer: str | None = None) -> None:
        """Say of each older one that it is passed over; of those that were mined nothing needs to be said."""
        names = {mined.name for mined in self._mined.values() if mined.place == self._place.name}
        for one in older:
            if one.signature not in self._failed and one.name not in names:
                self._once(one, "skipped", f"{one.name}: {newer or 'one that was mined'} is newer")

    def _fail(self, one: Checkpoint, error: HardmineError, kind: Literal["refused", "failed"]) -> None:
        self._failed.add(one.signature)
        mend = error.mend or "it is tried again when its files change, or when the watcher is started again"
        self._once(one, kind, f"{one.name}: {error.message}", mend)

    def _trouble(self, error: HardmineError) -> None:
        self._pause_until = time.monotonic() + _AFTER_TROUBLE
        self._waits = ""
        self._listener.tell(Event(event="trouble", message=f"{error.message}; trying again in {_AFTER_TROUBLE:.0f} s", mend=error.mend))

    def _once(self, one: Checkpoint, kind: Kind, message: str, mend: str = "") -> None:
        key = (one.signature, kind)
        if key not in self._told:
            self._told.add(key)
            self._waits = ""
            self._listener.tell(Event(event=kind, checkpoint=one.name, message=message, mend=mend))

    def _wait(self, look: _Look) -> None:
        """Tell what is waited for, where that is news."""
        missing = [f"{name} (lacks {what})" for name, what in sorted(look.waiting.items())]
        waits = f"waiting for {', '.join(missing[:3]) or 'a new checkpoint'} in {self._place.name}"
        if waits != self._waits:
            self._waits = waits
            self._listener.tell(Event(event="waiting", message=waits))


def earlier_teachers(storage: Storage, settings: MineSettings) -> RoundRecord | None:
    """The dataset's first round, where its trained teachers are still there and are such as this run would train; else none."""
    first = next(iter(list_rounds(storage, settings.dataset.name)), None)
    if first is None or not same_teacher(settings, first):
        return None
    reference = first.stage("train-teacher")
    return first if read_stage(storage, reference.stage, reference.key) is not None else None


def same_teacher(settings: MineSettings, first: RoundRecord) -> bool:
    """Whether a round trained its teacher by the very settings of a run."""
    before = first.settings.get("teacher")
    if settings.teacher is None or settings.teacher.train is None or before is None:
        return False
    wanted = settings.teacher.model_dump(mode="json", exclude=set(_NOT_TRAINING))
    trained = any(stage.stage == "train-teacher" for stage in first.stages)
    return trained and wanted == {name: value for name, value in before.items() if name not in _NOT_TRAINING}
