"""The terminal's plot of staleness: what is left of earlier rounds' loss share, as bars."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from tasks.staleness.facts import StaleNegatives, StalenessFacts

_WIDTH = 30  # characters of a loss share of 100 %
_EIGHTHS = " ▏▎▍▌▋▊▉"


def print_staleness(console: Console, facts: StalenessFacts) -> None:
    """Bars of each earlier selection, when it was mined and now, of trained queries and of the control.

    Args:
        console: where.
        facts: of the newest checkpoint; without an earlier round nothing is printed.
    """
    rows = [row for each in facts.earlier for row in _rows(each)]
    if not rows:
        return
    title = "What earlier rounds' negatives still teach"
    table = Table("negatives of", "under", "queries", "loss share", "", title=title, title_justify="left")
    table.columns[4].justify = "right"
    for row in rows:
        table.add_row(*row)
    console.print(table)


def bar(share: float) -> str:
    """A share from 0 to 1 as a bar.

    >>> bar(0.5), bar(0.01), bar(0.0)
    ('███████████████', '▎', '')
    """
    eighths = round(8 * _WIDTH * min(max(share, 0.0), 1.0))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _rows(each: StaleNegatives) -> Iterator[tuple[str, str, str, str, str]]:
    """(negatives, checkpoint, queries, bar, percentage), as far as shares are known."""
    name = f"round {each.round} ({each.recipe})"
    for cohort, first, now in (("trained", each.at_first, each.trained), ("control", each.control_at_first, each.control)):
        for when, measures in (("its own checkpoint", first), (f"{each.age} training(s) later", now)):
            share = measures.get("loss_share")
            if share is not None:
                yield name, when, cohort, bar(share), f"{100 * share:.0f} %"
                name = ""
