"""Writing training files as a Prefect task."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.shards.settings import ShardSettings
from tasks.shards.stage import STAGE, folder_of, jobs
from tasks.store.manifest import Part, StageManifest

_shards = stage_task(STAGE)


def shards(
    context: Context,
    format_name: str,
    selection_id: str,
    select: Sequence[Part],
    scored: Sequence[Part],
    queries: Sequence[Part],
    documents: Sequence[Part],
    settings: ShardSettings,
) -> tuple[StageManifest, str]:
    """One format of a selection: stage ``shards``, and the folder under the root that a trainer is pointed to."""
    work = jobs(format_name, selection_id, select, scored, queries, documents, settings)
    return _shards(context, work), folder_of(work)
