"""What was found in a root, for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from flows.keeping.gc import Collected
from flows.keeping.verify import Verified


@contextmanager
def reading(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar for bytes that are read through."""
    columns = (TextColumn("verify"), BarColumn(bar_width=28), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("verify", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def print_verified(console: Console, found: Verified) -> None:
    """One line, and a table of the faults."""
    looked = f"{found.records:,} records and {found.files:,} files, {found.bytes / 1e9:,.2f} GB"
    if not found.faults:
        console.print(f"[green]sound[/green]: {looked}", highlight=False)
        return
    table = Table("file", "state", "mend")
    for fault in found.faults:
        table.add_row(escape(fault.name), f"[red]{fault.kind}[/red]", fault.mend)
    console.print(table)
    said = "damaged files lie in damaged/ now" if found.mended else "`hardmine verify --mend` sets damaged files aside"
    console.print(f"{len(found.faults):,} of {looked} are not what was written; {said}", highlight=False)


def print_collected(console: Console, found: Collected) -> None:
    """What went, by kind, and what stays."""
    for one in found.retired:
        rounds = ", ".join(map(str, one.rounds))
        console.print(
            f"{one.dataset}: rounds {rounds} {'retired' if found.applied else 'would retire'}, checkpoints: {one.checkpoints}",
            highlight=False,
        )
    table = Table("what", "GB", box=None)
    for kind, size in found.by_kind.items():
        table.add_row(escape(kind), f"{size / 1e9:,.3f}")
    if found.by_kind:
        console.print(table)
    verb = "removed" if found.applied else "could go"
    console.print(
        f"{found.files:,} files, {found.bytes / 1e9:,.2f} GB {verb}; {found.left:,} files, {found.left_bytes / 1e9:,.2f} GB stay",
        highlight=False,
    )
    if found.waits_for:
        console.print(
            f"[yellow]nothing was removed: runs are at work[/yellow]: {escape('; '.join(found.waits_for))}; try again when they have ended",
            highlight=False,
        )
    elif not found.applied and found.files:
        console.print("nothing was removed: add --apply", highlight=False)
