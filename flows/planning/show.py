"""A plan in the terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.plan.plan import Plan, Prices
from tasks.plan.stage import StagePlan

_SMALL = 0.01  # of the whole time and of all bytes: stages under both are shown as one line


def print_plan(console: Console, plan: Plan, workers: int, prices: Prices, within: float | None) -> None:
    """Stages, totals, cost, notes.

    Args:
        console: where to; its width counts.
        plan: the plan.
        workers: for which times are told.
        prices: 0 where none is given.
        within: wanted seconds, or none.
    """
    title = f"Plan of a round of {plan.dataset}: {plan.documents:,} documents, {plan.queries:,} queries"
    table = Table("stage", "units", "tokens", "seconds", "written", title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for stage in _large(plan, workers):
        time = "[green]cached[/green]" if stage.cached else duration(stage.wall(workers))
        table.add_row(
            stage.stage, f"{short(stage.units)} {stage.unit}", short(stage.tokens) if stage.tokens else "", time, size(stage.bytes)
        )
    rest = [stage for stage in plan.stages if stage not in _large(plan, workers)]
    if rest:
        left = f"{len(rest)} smaller stages" + (f", {done} cached" if (done := sum(stage.cached for stage in rest)) else "")
        seconds = sum(stage.wall(workers) for stage in rest)
        table.add_row(left, "", "", duration(seconds), size(sum(stage.bytes for stage in rest)))
    console.print(table)
    for name, value in totals(plan, workers, prices, within):
        console.print(f"[bold]{name}[/bold] {escape(value)}", highlight=False)
    for note in plan.notes:
        console.print(f"[yellow]note[/yellow] {escape(note)}", highlight=False)


def totals(plan: Plan, workers: int, prices: Prices, within: float | None) -> Iterator[tuple[str, str]]:
    """What the whole run takes: (name, words)."""
    wall = plan.wall(workers)
    each = f" with {workers} workers" if workers > 1 else ""
    yield "time", f"{duration(wall)}{each}, starting and ending included; {duration(plan.computing)} of computing on one worker"
    slowest = plan.slowest(workers)
    if slowest is not None and not slowest.cached:
        yield "most of it", f"{slowest.stage}, {100 * slowest.wall(workers) / wall:.0f} %"
    unknown = [stage.stage for stage in plan.stages if stage.saved is None]
    spared = f"; caches spare {plan.saved:,}" if plan.saved else ""
    yield "model calls", f"{plan.calls:,}{spared}" + (f"; what they spare of {' and '.join(unknown)} is not known" if unknown else "")
    peak = max(plan.stages, key=lambda stage: stage.memory, default=None)
    yield "memory", f"{size(plan.memory)} a worker at its peak" + (f", in {peak.stage}" if peak is not None and peak.memory else "")
    yield "storage", f"{size(plan.bytes)} are written"
    if prices.hour or prices.month:
        yield "cost", f"{prices.of_run(plan, workers):,.2f} for the run, {prices.of_storage(plan):,.2f} a month for what it writes"
    if within is not None:
        yield f"within {duration(within)}", _within(plan, within, prices)


def plan_json(plan: Plan, workers: int, prices: Prices, within: float | None) -> dict[str, Any]:
    """All of it, in seconds and bytes."""
    return {
        **plan.model_dump(mode="json"),
        "workers": workers,
        "seconds": round(plan.wall(workers), 1),
        "computing": round(plan.computing, 1),
        "calls": plan.calls,
        "saved": plan.saved,
        "memory": plan.memory,
        "bytes": plan.bytes,
        "cost": {"run": prices.of_run(plan, workers), "storage_month": prices.of_storage(plan)},
        "workers_within": None if within is None else plan.workers_within(within),
    }


def _within(plan: Plan, seconds: float, prices: Prices) -> str:
    wanted = plan.workers_within(seconds)
    if wanted is None:
        most = max(stage.partitions for stage in plan.stages)
        slowest = plan.slowest(most)
        name = "" if slowest is None else f", {duration(slowest.wall(most))} of them for {slowest.stage}, whose parts no worker can share"
        return f"no number of workers is enough: {duration(plan.wall(most))} remain{name}"
    paid = f", {prices.of_run(plan, wanted):,.2f}" if prices.hour else ""
    return f"{wanted:,} worker{'' if wanted == 1 else 's'} like this machine: {duration(plan.wall(wanted))}{paid}"


def _large(plan: Plan, workers: int) -> Sequence[StagePlan]:
    seconds, written = sum(stage.wall(workers) for stage in plan.stages), plan.bytes
    return [stage for stage in plan.stages if stage.wall(workers) > _SMALL * seconds or stage.bytes > 5 * _SMALL * written or stage.saved]


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them.

    >>> duration(0.26), duration(95.4), duration(600), duration(7200), duration(864_000)
    ('0.3 s', '95 s', '10.0 min', '2.0 h', '10.0 d')
    """
    for limit, unit, name in ((10, 1, "s"), (100, 1, "s"), (6_000, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}" if limit == 100 else f"{seconds / unit:.1f} {name}"
    return f"{seconds / 86_400:,.1f} d"


def size(count: int) -> str:
    """Bytes in the unit that suits them.

    >>> size(999), size(1_500_000), size(2_000_000_000_000)
    ('999 B', '1.5 MB', '2.0 TB')
    """
    value = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} PB"


def short(count: int) -> str:
    """A count of at most five digits and a letter.

    >>> short(99_999), short(1_234_567), short(1_000_000_000), short(5_000_000_000_000)
    ('99,999', '1.23 M', '1.00 G', '5.00 T')
    """
    value = float(count)
    if value < 100_000:
        return f"{count:,}"
    for unit in ("k", "M", "G"):
        value /= 1000
        if value < 1000:
            return f"{value:.2f} {unit}"
    return f"{value / 1000:,.2f} T"
