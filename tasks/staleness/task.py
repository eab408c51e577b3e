"""Staleness as Prefect tasks. No model runs."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.staleness.settings import StalenessSettings
from tasks.staleness.stage import STAGE, SUMMARY, Checkpoint, Earlier, jobs, summary_jobs
from tasks.store.manifest import Part, StageManifest

_look = stage_task(STAGE)
_summarise = stage_task(SUMMARY)


def look_back(context: Context, checkpoint: Checkpoint, earlier: Sequence[Earlier], settings: StalenessSettings) -> StageManifest:
    """Earlier selections under a checkpoint: stage ``staleness``. See :func:`tasks.staleness.stage.jobs`."""
    return _look(context, jobs(checkpoint, earlier, settings))


def summarise_staleness(
    context: Context,
    found: Sequence[Part],
    own: Sequence[Part],
    queries: Sequence[Part],
    earlier: Sequence[Earlier],
    settings: StalenessSettings,
) -> StageManifest:
    """Trained queries beside the control: stage ``staleness-summary``, one part. See :func:`tasks.staleness.stage.summary_jobs`."""
    return _summarise(context, summary_jobs(found, own, queries, earlier, settings))
