"""How several rounds look in the terminal: one line a checkpoint."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.rounds import RoundOutcome, RoundsResult
from flows.staleness_bars import print_staleness
from flows.training import Evaluated


def print_rounds_result(console: Console, result: RoundsResult) -> None:
    """What each round mined, trained and reached; the best checkpoint; why it ended."""
    table = Table(
        "checkpoint",
        result.measure,
        "interval",
        "rows",
        "steps",
        "teacher pairs",
        "loss share lost",
        "seconds",
        title=f"{result.dataset}: {result.start.queries:,} queries of split {result.split}",
        title_justify="left",
    )
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("before", *_measured(result, result.start), "", "", "", "", "")
    for one in result.rounds:
        table.add_row(f"after {escape(one.mined.round)}", *_line(result, one))
    console.print(table)
    print_staleness(console, result.rounds[-1].mined.staleness)
    console.print(f"[bold]best checkpoint[/bold] {escape(result.best)}", soft_wrap=True, highlight=False)
    if result.stopped:
        console.print(f"[yellow]ended early[/yellow] {escape(result.stopped)}", highlight=False)


def _line(result: RoundsResult, one: RoundOutcome) -> list[str]:
    facts = one.trained.facts if one.trained else {}
    measured = _measured(result, one.measured) if one.measured else ["not trained", ""]
    return [
        *measured,
        f"{facts['samples']:,}" if facts else "",
        f"{facts['steps']:,}" if facts else "",
        f"{one.teacher_pairs:,}",
        "" if one.lost is None else f"{100 * one.lost:.0f} %",
        f"{one.seconds:,.0f}",
    ]


def _measured(result: RoundsResult, measured: Evaluated) -> list[str]:
    found = measured.measures[result.measure]
    best = " [green]best[/green]" if measured.model == result.best else ""
    return [f"{found['mean']:.4f}{best}", f"{found['low']:.4f} – {found['high']:.4f}"]
