"""The command that plans."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.common import AsJson, Overrides, err, load, out, print_json

app = typer.Typer()

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


@app.command(epilog="Example: hardmine plan run.yaml --within 2h --worker-hour 0.40 --gb-month 0.023")
def plan(
    settings: Annotated[Path, typer.Argument(help="The run's settings (run.yaml).")],
    overrides: Overrides = None,
    documents: Annotated[int | None, typer.Option(min=1, help="Plan for so many documents.")] = None,
    queries: Annotated[int | None, typer.Option(min=1, help="Plan for so many queries.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Workers like this machine; by default those of the run.")] = None,
    within: Annotated[str | None, typer.Option(help="How many workers are done in this time: 90s, 30min, 2h, 3d.")] = None,
    worker_hour: Annotated[float, typer.Option(min=0, help="Price of a worker for an hour.")] = 0.0,
    gb_month: Annotated[float, typer.Option(min=0, help="Price of storing 10^9 bytes for a month.")] = 0.0,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Measure this machine's speeds anew.")] = False,
    as_json: AsJson = False,
) -> None:
    """What a round will take before it is mined: seconds by stage, model calls, memory, bytes, cost, and what the caches spare."""
    from flows.planning.calibrate import run_workers
    from flows.planning.planner import Asked, plan_run
    from flows.planning.show import plan_json, print_plan
    from tasks.plan.plan import Prices

    wanted = seconds_of(within) if within else None
    loaded = load(settings, overrides)
    prices = Prices(hour=worker_hour, month=gb_month)
    with err.status("looking") as status:
        found = plan_run(loaded, Asked(documents, queries, calibrate), lambda text: status.update(text))
    count = workers or run_workers(loaded)
    if as_json:
        print_json(plan_json(found, count, prices, wanted))
    else:
        print_plan(out, found, count, prices, wanted)


def seconds_of(text: str) -> float:
    """A time in words.

    >>> seconds_of("90s"), seconds_of("1.5 h"), seconds_of("2d")
    (90.0, 5400.0, 172800.0)

    Raises:
        UsageError: it is none.
    """
    from tasks.errors import UsageError

    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)", text.strip())
    if found is None or float(found[1]) == 0:
        raise UsageError(f"--within {text}: not a time", "give a number and its unit: 90s, 30min, 2h, 3d")
    return float(found[1]) * _UNITS[found[2]]
