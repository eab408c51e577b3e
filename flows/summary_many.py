"""What a mixture holds, for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.many import ManyResult


def print_mixture(console: Console, result: ManyResult) -> None:
    """A line a dataset, and where the files are."""
    for file in result.mixture[:1]:
        table = Table(
            "dataset",
            "rows",
            "share",
            "written",
            "repeated",
            "left out",
            "clashing",
            title=f"Mixture {result.name}",
            title_justify="left",
        )
        for name, facts in file.datasets.items():
            counts = [f"{int(facts[one]):,}" for one in ("written", "repeated", "left_out", "clashing")]
            table.add_row(escape(name), f"{int(facts['rows']):,}", f"{100 * facts['share']:.1f} %", *counts)
        console.print(table)
    for file in result.mixture:
        console.print(f"[bold]{file.format}[/bold] {escape(file.folder)}", soft_wrap=True, highlight=False)
    if result.trained is not None:
        console.print(f"[bold]checkpoint[/bold] {escape(result.trained.model)}", soft_wrap=True, highlight=False)
