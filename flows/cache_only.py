"""A look at what is committed: stages run, and nothing is computed, or only what takes less time than starting a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tasks.runner.cores import cores
from tasks.runner.inline import InlineExecutor
from tasks.runner.stage import Job, Report, Stage
from tasks.store.manifest import Part


class NotCached(Exception):
    """Some partition has to be computed."""


class CacheOnly:
    """An executor for runs that may compute nothing."""

    def map(self, root: str, stage: Stage, jobs: Sequence[Job], report: Report) -> Iterator[Part]:
        """Always refuses."""
        raise NotCached(stage.name)


_SELECTING = ("select", "hub-limits", "probe", "gate", "measure", "shards")
_FEW = 50_000  # candidates or rows of a stage


class SelectingOnly:
    """An executor that selects from few candidates in this process, without models, and computes nothing else: another recipe."""

    def map(self, root: str, stage: Stage, jobs: Sequence[Job], report: Report) -> Iterator[Part]:
        """Refuses whatever comes before the scored table, and what is large."""
        if not (stage.name in _SELECTING or stage.name.startswith("feature-")) or sum(job.units for job in jobs) > _FEW:
            raise NotCached(stage.name)
        return InlineExecutor(cores()).map(root, stage, jobs, report)


class Quiet:
    """Tells nobody."""

    def start(self, stage: str, unit: str, total: int, done: int) -> None:
        """Nothing."""

    def advance(self, stage: str, units: int) -> None:
        """Nothing."""

    def finish(self, manifest: Any, cached: bool) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""
