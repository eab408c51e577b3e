"""Progress of stages, with rate and time left: bars in a terminal, lines in a log, progress artifacts in the UI."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from tasks.runner.runner import Progress
from tasks.store.manifest import StageManifest

_LOG = logging.getLogger(__name__)
_LOG_EVERY = 15.0
_ARTIFACT_EVERY = 2.0


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        unit = str(task.fields.get("unit", ""))
        return Text(f"{task.speed:,.0f} {unit}/s" if task.speed else f"{unit}", style="cyan")


class TerminalProgress:
    """A bar a stage while it runs, one line when it is done. Use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description:<18}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, Any] = {}
        self._state: dict[str, _Count] = {}

    def __enter__(self) -> TerminalProgress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def start(self, stage: str, unit: str, total: int, done: int) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        self._state[stage] = _Count(unit, total, done)
        self._tasks[stage] = self._bars.add_task(stage, total=total, completed=done, unit=unit)

    def advance(self, stage: str, units: int) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        count = self._state[stage]
        count.add(units)
        self._bars.update(self._tasks[stage], completed=count.done)

    def finish(self, manifest: StageManifest, cached: bool) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        if manifest.stage in self._tasks:
            self._bars.remove_task(self._tasks.pop(manifest.stage))
        count = self._state.pop(manifest.stage, None)
        self._console.print(_done_line(manifest, cached, time.monotonic() - count.began if count else 0.0), highlight=False)

    def say(self, text: str) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        _print(self._console, text)


class LogProgress:
    """One line when a stage begins and ends, and every quarter of a minute between: for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._state: dict[str, _Count] = {}

    def __enter__(self) -> LogProgress:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def start(self, stage: str, unit: str, total: int, done: int) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        self._state[stage] = _Count(unit, total, done)

    def advance(self, stage: str, units: int) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        count = self._state[stage]
        count.add(units)
        if time.monotonic() - count.told > _LOG_EVERY:
            count.told = time.monotonic()
            self._console.print(f"{stage}: {count.describe()}", highlight=False)

    def finish(self, manifest: StageManifest, cached: bool) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        count = self._state.pop(manifest.stage, None)
        self._console.print(_done_line(manifest, cached, time.monotonic() - count.began if count else 0.0), highlight=False)

    def say(self, text: str) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        _print(self._console, text)


class ArtifactProgress:
    """Progress artifacts in Prefect's UI, updated from a thread of their own. What the server refuses is logged: the run goes on.

    Args:
        every: seconds between two updates.
    """

    def __init__(self, every: float = _ARTIFACT_EVERY) -> None:
        self._every = every
        self._warned = False
        self._state: dict[str, _Count] = {}
        self._ids: dict[str, Any] = {}
        self._stop = threading.Event()
        self._telling = threading.Lock()  # what is told last is what was last
        here = contextvars.copy_context()  # Prefect's settings are of a context: without them it would look for another server
        self._thread = threading.Thread(target=here.run, args=(self._update,), daemon=True, name="progress-artifacts")

    def __enter__(self) -> ArtifactProgress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def start(self, stage: str, unit: str, total: int, done: int) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        from prefect.artifacts import create_progress_artifact

        count = _Count(unit, total, done)
        self._state[stage] = count
        self._ids.pop(stage, None)
        with self._never_fails(stage):
            self._ids[stage] = create_progress_artifact(
                progress=count.percent, key=f"progress-{stage}", description=f"{stage}: {count.describe()}"
            )

    def advance(self, stage: str, units: int) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        count = self._state.get(stage)  # none: told late, after the stage's end
        if count is not None:
            count.add(units)

    def finish(self, manifest: StageManifest, cached: bool) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        count = self._state.pop(manifest.stage, None)
        if count is not None:
            count.done = count.total
            with self._telling:
                self._tell(manifest.stage, count)

    def say(self, text: str) -> None:
        """See :class:`tasks.runner.runner.Progress`. It stands among the run's logs."""
        warn(text)

    def _update(self) -> None:
        while not self._stop.wait(self._every):
            for stage, count in list(self._state.items()):
                with self._telling:
                    if self._state.get(stage) is count:
                        self._tell(stage, count)

    def _tell(self, stage: str, count: _Count) -> None:
        from prefect.artifacts import update_progress_artifact

        if stage in self._ids:
            with self._never_fails(stage):
                update_progress_artifact(artifact_id=self._ids[stage], progress=count.percent, description=f"{stage}: {count.describe()}")

    @contextmanager
    def _never_fails(self, stage: str) -> Iterator[None]:
        """The first failure is a warning, the others are for debugging."""
        try:
            yield
        except Exception as error:
            level, self._warned = logging.DEBUG if self._warned else logging.WARNING, True
            _LOG.log(level, "progress of %s is not shown, the run goes on: %s: %s", stage, type(error).__name__, error)


class ManyProgress:
    """Tells several listeners. Use as a context manager."""

    def __init__(self, listeners: Sequence[Any]) -> None:
        self._listeners = listeners

    def __enter__(self) -> Progress:
        for listener in self._listeners:
            listener.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        for listener in self._listeners:
            listener.__exit__(*error)

    def start(self, stage: str, unit: str, total: int, done: int) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        for listener in self._listeners:
            listener.start(stage, unit, total, done)

    def advance(self, stage: str, units: int) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        for listener in self._listeners:
            listener.advance(stage, units)

    def finish(self, manifest: StageManifest, cached: bool) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        for listener in self._listeners:
            listener.finish(manifest, cached)

    def say(self, text: str) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        for listener in self._listeners:
            listener.say(text)


@dataclass
class _Count:
    unit: str
    total: int
    done: int
    began: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)
    first: int = field(init=False)

    def __post_init__(self) -> None:
        self.first = self.done

    def add(self, units: int) -> None:
        """Never more than there is: a partition that is tried twice tells its units twice."""
        self.done = min(self.total, self.done + units)

    @property
    def percent(self) -> float:
        return min(100.0, 100.0 * self.done / self.total) if self.total else 100.0

    def describe(self) -> str:
        passed = time.monotonic() - self.began
        rate = (self.done - self.first) / passed if passed > 0 else 0.0
        left = f", {(self.total - self.done) / rate:,.0f} s left" if rate > 0 else ""
        return f"{self.done:,} of {self.total:,} {self.unit}, {rate:,.0f}/s{left}"


def warn(text: str) -> None:
    """A warning among the logs of the flow run that this is, so that it is seen in the UI; outside of one among the process' own."""
    from prefect.exceptions import MissingContextError
    from prefect.logging import get_run_logger

    try:
        get_run_logger().warning(text)
    except MissingContextError:
        _LOG.warning(text)


def _print(console: Console, text: str) -> None:
    console.print(f"[yellow]![/yellow] {escape(text)}", highlight=False, soft_wrap=True)


def _done_line(manifest: StageManifest, cached: bool, seconds: float) -> str:
    calls = manifest.counters.get("model_calls", 0)
    hits = manifest.counters.get("cache_hits", 0)
    facts = [f"{len(manifest.parts)} partitions"]
    if calls:
        facts.append(f"{calls:,} model calls")
    if hits:
        facts.append(f"{hits:,} reused")
    timing = "[green]cached[/green]" if cached else f"{seconds:6.1f} s"
    return f"[green]✓[/green] {manifest.stage:<18} {timing:>8}  {', '.join(facts)}"
