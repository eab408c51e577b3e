"""How a review looks in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.review import Imported

_SHOWN = 10


def print_imported(console: Console, found: Imported) -> None:
    """What was read, what was set aside, and the leak of each recipe."""
    answers = found.answers
    console.print(
        f"{len(answers.answers):,} labels read, {len(answers.aside):,} rows set aside, {answers.unreviewed:,} pairs without a label",
        highlight=False,
    )
    for aside in answers.aside[:_SHOWN]:
        console.print(f"[yellow]set aside[/yellow] {escape(str(aside))}", highlight=False)
    if len(answers.aside) > _SHOWN:
        console.print(f"… and {len(answers.aside) - _SHOWN} more", highlight=False)
    headings = ("recipe", "false negatives", "interval", "reviewed", "relevant", "unsure", "of emitted")
    table = Table(*headings, title="By the review", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for leak in sorted(found.leaks, key=lambda one: one.assisted.estimate):
        low, high = leak.bounds if leak.unsure else (leak.assisted.low, leak.assisted.high)
        table.add_row(
            escape(leak.recipe),
            f"{100 * leak.assisted.estimate:.1f} %",
            f"{100 * low:.1f} – {100 * high:.1f}",
            f"{leak.reviewed:,}",
            f"{leak.relevant:,}",
            f"{leak.unsure:,}",
            f"{leak.emitted:,}",
        )
    if found.leaks:
        console.print(table)
    for name in found.outside:
        note = f"{escape(name)} emits pairs that this sample was not drawn from: export a new one"
        console.print(f"[yellow]note[/yellow] {note}", highlight=False)
    if found.leaks:
        console.print("the next round takes the pairs that are relevant as positives", highlight=False)
