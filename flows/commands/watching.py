"""The command that mines whatever a trainer saves."""

from __future__ import annotations

import datetime
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.status import Status
from typing_extensions import override

from flows.commands.common import Overrides, err, load, out, print_json, progress_listeners

app = typer.Typer()
_COLOURS = {"mined": "green", "started": "cyan", "skipped": "dim", "refused": "red", "failed": "red", "trouble": "yellow", "waiting": "dim"}


@app.command(epilog="Example: hardmine watch run.yaml ./checkpoints --stable-for 120")
def watch(
    settings: Annotated[Path, typer.Argument(help="The run's settings (run.yaml); model.path is replaced by each checkpoint.")],
    place: Annotated[str, typer.Argument(help="Where a trainer saves checkpoints as sub-folders: a folder, or s3://bucket/prefix.")],
    marker: Annotated[
        str, typer.Option(help="File that makes a checkpoint complete; auto: _SUCCESS or trainer_state.json; none: only time counts.")
    ] = "auto",
    stable_for: Annotated[float, typer.Option(help="Seconds without a change after which it counts as complete otherwise.")] = 60.0,
    poll: Annotated[float, typer.Option(help="Seconds between two looks.")] = 10.0,
    newest_by: Annotated[str, typer.Option(help="time: the one written last; step: the one with the largest number in its name.")] = "time",
    once: Annotated[bool, typer.Option("--once", help="Look once, mine what is there, and end.")] = False,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Each event as a line of JSON on standard output.")] = False,
) -> None:
    """Mine a round with each new checkpoint: the newest complete one, one at a time."""
    from flows.checks import check_mines_only
    from flows.configuration import validate
    from flows.watch import Watcher
    from tasks.watch.places import open_place
    from tasks.watch.settings import WatchSettings

    given = {"marker": marker, "stable_for": stable_for, "poll": poll, "newest_by": newest_by}
    options = validate(WatchSettings, given, file="options")
    loaded = load(settings, overrides)
    check_mines_only(loaded)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop is as clean as Ctrl-C
    listener = _Json() if as_json else _Terminal()
    try:
        watcher = Watcher(loaded, open_place(place, loaded.root), options, listener, progress_listeners)
        if not watcher.run(once):
            raise typer.Exit(1)
    finally:
        listener.close()


class _Listener:
    """Keeps the details of failures without words of their own."""

    def unexpected(self, error: Exception) -> str:
        """See :class:`flows.watch.Listener`."""
        with tempfile.NamedTemporaryFile("w", prefix="hardmine-", suffix=".log", delete=False) as log:
            log.write("".join(traceback.format_exception(error)))
        return f"the details are in {log.name}"

    def close(self) -> None:
        """Leave the terminal as it was."""


class _Terminal(_Listener):
    """A line an event on standard output; on a terminal what is waited for is a line that stays at the bottom."""

    def __init__(self) -> None:
        self._status: Status | None = None

    def tell(self, event: Any) -> None:
        """See :class:`flows.watch.Listener`."""
        self.close()
        if event.event == "waiting" and err.is_terminal:
            self._status = err.status(escape(event.message))
            self._status.start()
            return
        what = f"[{_COLOURS[event.event]}]{event.event:<8}[/]"
        out.print(f"{datetime.datetime.now():%H:%M:%S} {what} {escape(event.message)}", highlight=False, soft_wrap=True)
        if event.mend:
            out.print(f"{'':17} [green]mend[/green] {escape(event.mend)}", highlight=False, soft_wrap=True)

    @override
    def close(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


class _Json(_Listener):
    """A line of JSON an event."""

    def tell(self, event: Any) -> None:
        """See :class:`flows.watch.Listener`."""
        print_json(event.model_dump(mode="json", exclude_none=True))
        sys.stdout.flush()
