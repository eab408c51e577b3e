"""Run a stage: skip what is committed, do the rest, commit partition by partition, then the whole.

Promise: a partition whose manifest is committed and whose files still have their recorded sizes is never computed
again, whatever was killed meanwhile; the stage's manifest is written last.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from tasks.errors import StorageError
from tasks.runner.stage import Job, Report, Stage, Work
from tasks.store.explained import disk_failures
from tasks.store.keys import digest
from tasks.store.lease import turn
from tasks.store.manifest import Part, StageManifest, add_counters, commit_part, commit_stage, read_part, read_stage
from tasks.store.output import Output
from tasks.store.storage import Storage, open_storage

_LOG = logging.getLogger(__name__)
MEMORY = (
    "take fewer workers, give each more memory, or make partitions smaller (document_partitions and query_partitions of a new dataset, "
    "pairs_per_partition of the teacher); what is committed is reused"
)


class Progress(Protocol):
    """Who is told how far a stage is (a terminal's bar, an artifact in the UI, both)."""

    def start(self, stage: str, unit: str, total: int, done: int) -> None:
        """A stage begins; ``done`` units of ``total`` were there already."""

    def advance(self, stage: str, units: int) -> None:
        """So many more units are done."""

    def finish(self, manifest: StageManifest, cached: bool) -> None:
        """A stage is committed; ``cached``: it was so before."""

    def say(self, text: str) -> None:
        """Why nothing goes on, in a sentence."""


class Executor(Protocol):
    """Where partitions are computed."""

    def map(self, root: str, stage: Stage, jobs: Sequence[Job], report: Report) -> Iterator[Part]:
        """Compute and commit each job, in any order; ``report`` is called with units as they get done."""


@dataclass(frozen=True)
class Context:
    """What a run hands to each of its stages."""

    storage: Storage
    executor: Callable[[], Executor]
    progress: Progress


def stage_key(stage: Stage, jobs: Sequence[Job]) -> str:
    """A stage's key: those of its partitions, in order."""
    return digest(stage.name, stage.version, [job.key(stage) for job in jobs])


def find_stage(storage: Storage, stage: Stage, jobs: Sequence[Job]) -> StageManifest | None:
    """The committed manifest for exactly this work, or ``None`` if some of it is still to do."""
    return read_stage(storage, stage.name, stage_key(stage, jobs))


def run_stage(context: Context, stage: Stage, jobs: Sequence[Job]) -> StageManifest:
    """Do what is left of a stage, and commit it. Where another run is at it already, wait, and share what it did.

    Args:
        context: storage, executor and progress of this run.
        stage: what to run.
        jobs: its partitions; the order is kept in the manifest.

    Returns:
        The committed manifest: files, rows, bytes, seconds, counters of every partition.
    """
    found = find_stage(context.storage, stage, jobs)
    if found is None:
        name = f"stages/{stage.name}-{stage_key(stage, jobs)}"
        with turn(
            context.storage, name, stage.name, lambda other: context.progress.say(f"{stage.name}: waiting for {other}, which is at it")
        ) as late:
            found = find_stage(context.storage, stage, jobs) if late else None
            if found is None:
                return _compute(context, stage, jobs)
    context.progress.finish(found, cached=True)
    return found


def _compute(context: Context, stage: Stage, jobs: Sequence[Job]) -> StageManifest:
    """The partitions that are missing, then the stage's manifest."""
    keys = [job.key(stage) for job in jobs]
    with ThreadPoolExecutor(8) as threads:
        parts: dict[str, Part | None] = dict(
            zip(keys, threads.map(lambda key: read_part(context.storage, stage.name, key), keys), strict=True)
        )
    missing = [job for job, key in zip(jobs, keys, strict=True) if parts[key] is None]
    total, left = sum(job.units for job in jobs), sum(job.units for job in missing)
    context.progress.start(stage.name, stage.unit, total, total - left)
    if missing:
        for part in context.executor().map(context.storage.root, stage, missing, lambda units: context.progress.advance(stage.name, units)):
            parts[part.key] = part
    done = tuple(committed for committed in map(parts.__getitem__, keys) if committed is not None)
    manifest = StageManifest(
        stage=stage.name,
        version=stage.version,
        key=stage_key(stage, jobs),
        settings=_common_settings(jobs),
        parts=done,
        counters=add_counters(*(part.counters for part in done)),
        seconds=round(sum(part.seconds for part in done), 3),
    )
    commit_stage(context.storage, manifest)
    context.progress.finish(manifest, cached=False)
    return manifest


def run_job(root: str, stage: Stage, job: Job, report: Report) -> Part:
    """Compute one partition and commit it: the function that workers execute."""
    storage = open_storage(root)
    key = job.key(stage)
    done = read_part(storage, stage.name, key)
    if done is not None:
        report(job.units)
        return done
    began = time.monotonic()
    meter = _Meter(job.units, report)
    output = _computed(storage, stage, job, meter)
    meter.finish()
    part = Part(
        stage=stage.name,
        key=key,
        index=job.index,
        files=tuple(output.files),
        counters=dict(sorted(output.counters.items())),
        meta=output.meta,
        seconds=round(time.monotonic() - began, 3),
    )
    commit_part(storage, part)
    return part


def _computed(storage: Storage, stage: Stage, job: Job, meter: _Meter) -> Output:
    """The partition's output, not committed yet; where memory runs out, by smaller pieces.

    Raises:
        StorageError: there is not memory enough for the smallest.
    """
    output = Output(storage, stage.folder_of(job, job.key(stage)))
    try:
        with disk_failures(f"compute stage {stage.name}, partition {job.index}"):
            stage.resolve()(Work(job, storage, meter.add), output)
    except MemoryError as error:
        smaller = job.smaller(stage)
        if smaller is None:
            raise StorageError(f"stage {stage.name}, partition {job.index}: memory ran out", MEMORY) from error
    else:
        output.meta.update({"pieces": job.pieces} if job.pieces > 1 else {})
        return output
    _LOG.warning("stage %s, partition %s: memory ran out; once more in %d pieces", stage.name, job.index, smaller.pieces)
    return _computed(storage, stage, smaller, meter)


class _Meter:
    """Passes on progress, never more than the job's units in all, and the rest at the end."""

    def __init__(self, units: int, report: Report) -> None:
        self._left = units
        self._report = report

    def add(self, units: int) -> None:
        passed = min(units, self._left)
        self._left -= passed
        if passed:
            self._report(passed)

    def finish(self) -> None:
        self.add(self._left)


def _common_settings(jobs: Sequence[Job]) -> dict[str, Any]:
    """The settings that all partitions share: what the manifest shows."""
    if not jobs:
        return {}
    first = dict(jobs[0].settings)
    return {name: value for name, value in first.items() if all(job.settings.get(name) == value for job in jobs)}
