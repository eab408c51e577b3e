"""How comparisons and advice look in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.compare import Comparison
from flows.tuning import Tuning
from tasks.compare.advice import Advice
from tasks.compare.tables import terminal_rows
from tasks.compare.yields import YieldCurve

_LEFT = ("recipe", "most like")
_POINTS = 12  # lines of a yield curve in the terminal


def print_comparison(console: Console, comparison: Comparison) -> None:
    """One line a recipe, the least leak first (else the hardest), and why recipes are left out."""
    outcomes = sorted(
        comparison.outcomes,
        key=lambda one: (one.metrics.leak.total.value if one.metrics.leak else 0.0, -_hardness(comparison, one.recipe), one.recipe),
    )
    rows = terminal_rows(outcomes)
    judged = next((one.metrics.judged.queries for one in outcomes if one.metrics.judged), None)
    over = f" · {comparison.queries}" if comparison.queries else ""
    over += f" · measured on {judged:,} judged queries" if judged is not None else ""
    table = Table(title=f"Round {comparison.round}{over}", title_justify="left")
    for heading in rows[0] if rows else ():
        table.add_column(heading, justify="left" if heading in _LEFT else "right", no_wrap=heading == "recipe")
    for row in rows:
        table.add_row(*map(escape, row.values()))
    console.print(table)
    _print_equal_yield(console, comparison)
    for name, reason in comparison.left_out.items():
        console.print(f"[yellow]left out[/yellow] {escape(name)}: {escape(reason)}", highlight=False)
    _print_notes(console, comparison.notes)


def _print_equal_yield(console: Console, comparison: Comparison) -> None:
    """Each swept recipe at the hardest setting that serves 95 % of the queries."""
    points = comparison.at_equal_yield()
    settings = {line.family: line.parameter for line in comparison.curves}
    if not points:
        return
    table = Table(
        "recipe",
        "setting",
        "leak",
        "hardness",
        "served",
        title="At equal yield: the hardest setting that serves 95 %",
        title_justify="left",
    )
    for column in table.columns[2:]:
        column.justify = "right"
    for family, point in sorted(points.items(), key=lambda pair: (pair[1].leak or 0.0, pair[0])):
        value = "between two" if point.value is None else f"{point.value}"
        leak = "" if point.leak is None else f"{100 * point.leak:.1f} %"
        table.add_row(escape(family), f"{settings[family]} {value}", leak, f"{point.hardness:.3f}", f"{100 * point.served:.1f} %")
    console.print(table)


def print_advice(console: Console, curves: Sequence[YieldCurve], advice: Sequence[Advice], looked: Tuning) -> None:
    """Each measure's yield curve, then the threshold for the wanted rate."""
    over = f" · {looked.words}" if looked.words else ""
    for line in curves:
        table = Table(
            "kept under",
            "candidates a query",
            "queries served",
            "false negatives",
            "interval",
            title=f"{line.column}{over}",
            title_justify="left",
        )
        for column in table.columns:
            column.justify = "right"
        points = [point for point in line.points if point.rate is not None] or list(line.points)
        for point in points[:: max(1, len(points) // _POINTS)]:
            rate = point.rate
            table.add_row(
                f"{point.threshold:.3g}",
                f"{point.remaining:.1f}",
                f"{100 * point.served:.1f} %",
                f"{100 * rate.value:.1f} %" if rate else "",
                f"{100 * rate.low:.1f} – {100 * rate.high:.1f}" if rate else "",
            )
        console.print(table)
    for one in advice:
        console.print(
            f"{'[green]advice[/green]' if one.threshold is not None else '[yellow]none[/yellow]'} {escape(one.statement)}", highlight=False
        )
    _print_notes(console, looked.notes)


def _print_notes(console: Console, notes: Sequence[str]) -> None:
    for note in notes:
        console.print(f"[yellow]note[/yellow] {escape(note)}", highlight=False)


def _hardness(comparison: Comparison, name: str) -> float:
    metrics = next(one.metrics for one in comparison.outcomes if one.recipe == name)
    return metrics.compared.similarity.mean if metrics.compared.similarity else 0.0
