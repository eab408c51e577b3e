"""Planned against actual of one cold run: ``python -m tests.bench.planned RUN.YAML``, on an idle machine. The run's root must be new.

The plan (and its calibration, where none is kept) is made first, outside of the time that is measured.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.measured import Measured, measure


@dataclass(frozen=True)
class Compared:
    """A plan, and the run that it was of.

    Args:
        plan: as ``hardmine plan --json`` gives it.
        result: as ``hardmine mine --json`` gives it.
        measured: wall seconds, memory.
    """

    plan: dict[str, Any]
    result: dict[str, Any]
    measured: Measured

    @property
    def table(self) -> str:
        """Markdown: each stage that took a second or was to, all of them, and the run on the clock."""
        lines = ["| stage | planned | actual | apart |", "|---|---|---|---|"]
        outlays = self.result["outlays"]
        for one in outlays:
            if max(one["seconds"], one["planned_seconds"] or 0.0) >= 1:
                lines.append(_line(one["stage"], one["planned_seconds"], one["seconds"]))
        computing = sum(one["planned_seconds"] or 0.0 for one in outlays), sum(one["seconds"] for one in outlays)
        lines.append(_line("all computing", *computing))
        lines.append(_line("on the clock", self.plan["seconds"], self.measured.wall))
        memory = f"{self.plan['memory'] / 1e9:.2f} GB planned for one worker, {self.measured.peak / 1e9:.2f} GB of all processes"
        planned, made = self.plan["calls"], sum(one["model_calls"] for one in outlays)
        calls = f"{planned:,} model calls planned, {made:,} made"
        written = f"{self.plan['bytes'] / 1e6:.1f} MB planned, {sum(one['bytes'] for one in outlays) / 1e6:.1f} MB written by stages"
        return "\n".join([*lines, "", f"Memory: {memory}. {calls}. {written}."])


def compare_cold(settings: Path) -> Compared:
    """Plan a run, then mine it.

    Args:
        settings: a run.yaml whose root does not exist yet.
    """
    hardmine = str(Path(sys.executable).with_name("hardmine"))
    plan = _last_line(measure([hardmine, "plan", str(settings), "--json"]).output)
    measured = measure([hardmine, "mine", str(settings), "--json"])
    return Compared(plan, _last_line(measured.output), measured)


def _last_line(output: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return found


def _line(name: str, planned: float | None, actual: float) -> str:
    apart = f"{100 * (actual - planned) / planned:+.0f} %" if planned else ""
    return f"| {name} | {'' if planned is None else f'{planned:.1f} s'} | {actual:.1f} s | {apart} |"


if __name__ == "__main__":
    print(compare_cold(Path(sys.argv[1])).table)  # noqa: T201
