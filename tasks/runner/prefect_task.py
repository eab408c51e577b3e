"""One Prefect task a stage: Prefect shows it and records it, the manifest decides whether it is done.

Prefect's own cache record is display only. A stage whose manifest is valid is a cache hit there too; one whose files
are gone is refreshed, whatever the record says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tasks.runner.runner import Context, find_stage, run_stage, stage_key
from tasks.runner.stage import Job, Stage
from tasks.store.manifest import StageManifest, read_stage

StageCall = Callable[[Context, Sequence[Job]], StageManifest]


def stage_task(stage: Stage) -> StageCall:
    """A function that runs a stage: as a task of the Prefect flow that it is called in, or plainly outside of one."""

    def call(context: Context, jobs: Sequence[Job]) -> StageManifest:
        if not _inside_flow():
            return run_stage(context, stage, jobs)
        key = stage_key(stage, jobs)
        found = find_stage(context.storage, stage, jobs)
        _prefect_task(stage, lambda: found or run_stage(context, stage, jobs)).with_options(refresh_cache=found is None)(key=key)
        if found is not None:
            context.progress.finish(found, cached=True)
            return found
        manifest = read_stage(context.storage, stage.name, key, check_files=False)
        assert manifest is not None, f"stage {stage.name} ended without its manifest"
        return manifest

    call.__name__ = stage.name.replace("-", "_")
    return call


def _prefect_task(stage: Stage, work: Callable[[], StageManifest]) -> Any:
    from prefect import task

    def body(key: str) -> dict[str, str]:
        manifest = work()
        return {"stage": manifest.stage, "key": manifest.key}

    return task(
        name=stage.name,
        task_run_name=f"{stage.name}-{{key}}",
        cache_key_fn=lambda _, parameters: f"{stage.name.replace('-', '_')}_{parameters['key']}",
        persist_result=True,
        result_serializer="json",
    )(body)


def _inside_flow() -> bool:
    import sys

    if "prefect" not in sys.modules:
        return False
    from prefect.context import FlowRunContext

    return FlowRunContext.get() is not None
