"""A look at what is committed: stages run, and nothing is computed, or only what takes less time than starting a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tasks.runner.cores import cores
from tasks.runner.inline import InlineExecutor
from tasks.runner.stage import Job, NotCached, Report, Stage
from tasks.store.manifest import Part


class CacheOnly:
    """An executor for runs that may compute nothing."""

    def map(self, root: str, stage: Stage, jobs: Sequence[Job], report: Report) -> Iterator[Part]:
        """Always refuses."""
        raise NotCached(stage.name)


_SELECTING = ("select", "hub-limits", "probe", "gate", "measure", "shards")
_FEW = {"documents": 20_000, "texts": 20_000, "KB": 10_000}  # units of a stage
_FEW_OTHERS = 50_000  # candidates, rows, searches
_FEW_INPUTS = 500  # of a model


class SelectingOnly:
    """An executor that selects from few candidates in this process, without models, and computes nothing else: another recipe."""

    def map(self, root: str, stage: Stage, jobs: Sequence[Job], report: Report) -> Iterator[Part]:
        """Refuses whatever comes before the scored table, and what is large."""
        if not (stage.name in _SELECTING or stage.name.startswith("feature-")):
            raise NotCached(stage.name)
        return _few(root, stage, jobs, report)


class FewOnly:
    """An executor for a round of which nearly all is known: small stages run in this process, and models on a few new texts and pairs."""

    def map(self, root: str, stage: Stage, jobs: Sequence[Job], report: Report) -> Iterator[Part]:
        """Refuses what is large, what trains a model, and what is worth a cluster; what was done until then is committed."""
        if not stage.model:
            return _few(root, stage, jobs, report)
        if not stage.splits:
            raise NotCached(stage.name)
        few = _FEW_INPUTS // len(jobs)
        return InlineExecutor(1).map(root, stage, [replace(job, options={**job.options, "few": few}) for job in jobs], report)


def _few(root: str, stage: Stage, jobs: Sequence[Job], report: Report) -> Iterator[Part]:
    if sum(job.units for job in jobs) > _FEW.get(stage.unit, _FEW_OTHERS):
        raise NotCached(stage.name)
    return InlineExecutor(cores()).map(root, stage, jobs, report)


LOOKING = (FewOnly, SelectingOnly)  # of a run that first looks whether there is little to do


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
