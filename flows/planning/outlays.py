"""Planned against actual: what each stage of a run was to take, and took."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from flows.planning.show import duration, short, size
from flows.results import StageCost
from tasks.audit.records import Outlay
from tasks.plan.plan import Plan

_SMALL = 0.01  # of all seconds: stages under it are shown as one line


def outlays(plan: Plan | None, costs: Sequence[StageCost]) -> tuple[Outlay, ...]:
    """By stage, in the order of the run; a stage that ran several times (recipes, formats) is summed. Nothing without a plan.

    Stages that were planned as cached and were so are left out.
    """
    if plan is None:
        return ()
    made = []
    for name in dict.fromkeys([*(cost.stage for cost in costs), *(stage.stage for stage in plan.stages)]):
        planned = [stage for stage in plan.stages if stage.stage == name]
        spent = [cost for cost in costs if cost.stage == name and not cost.cached]
        one = Outlay(
            stage=name,
            planned_seconds=round(sum(stage.computing for stage in planned), 3) if planned else None,
            seconds=round(sum(cost.seconds for cost in spent), 3),
            planned_calls=sum(stage.calls for stage in planned) if planned else None,
            model_calls=sum(cost.model_calls for cost in spent),
            planned_bytes=sum(stage.bytes for stage in planned) if planned else None,
            bytes=sum(cost.bytes for cost in spent),
        )
        if spent or one.planned_seconds:
            made.append(one)
    return tuple(made)


def total(found: Sequence[Outlay]) -> Outlay:
    """All stages together."""
    return Outlay(
        stage="all stages",
        planned_seconds=sum(one.planned_seconds or 0.0 for one in found),
        seconds=sum(one.seconds for one in found),
        planned_calls=sum(one.planned_calls or 0 for one in found),
        model_calls=sum(one.model_calls for one in found),
        planned_bytes=sum(one.planned_bytes or 0 for one in found),
        bytes=sum(one.bytes for one in found),
    )


def print_outlays(console: Console, found: Sequence[Outlay]) -> None:
    """A table of the larger stages and of all; nothing where there was no plan."""
    if not found:
        return
    table = Table("computing", "planned", "actual", "calls planned", "actual", "bytes planned", "actual", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    whole = total(found)
    least = _SMALL * max(whole.seconds, whole.planned_seconds or 0.0)
    for one in (*(one for one in found if max(one.seconds, one.planned_seconds or 0.0) > least), whole):
        table.add_row(
            one.stage,
            "" if one.planned_seconds is None else duration(one.planned_seconds),
            duration(one.seconds),
            short(one.planned_calls) if one.planned_calls else "",
            short(one.model_calls) if one.model_calls else "",
            "" if one.planned_bytes is None else size(one.planned_bytes),
            size(one.bytes),
        )
    console.print(table)
