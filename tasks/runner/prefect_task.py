"""One Prefect task a stage: Prefect shows it and records it, the manifest decides whether it is done.

Prefect's own cache record is display only. A stage whose manifest is valid is a cache hit there too; one whose files
are gone is refreshed, whatever the record says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from tasks.runner.runner import Context, find_stage, run_stage, stage_key
from tasks.runner.stage import Job, Stage
from tasks.store.keys import digest
from tasks.store.manifest import StageManifest, read_stage

StageCall = Callable[[Context, Sequence[Job]], StageManifest]


def stage_task(stage: Stage) -> StageCall:
    """A function that runs a stage: as a task of the Prefect flow that it is called in, or plainly outside of one."""

    def call(context: Context, jobs: Sequence[Job]) -> StageManifest:
        if not _inside_flow():
            return run_stage(context, stage, jobs)
        key = stage_key(stage, jobs)
        found = find_stage(context.storage, stage, jobs)
        place = _result_storage(context.storage.root)
        work = _prefect_task(stage, run_name(stage, jobs, key), place, lambda: found or run_stage(context, stage, jobs))
        work.with_options(refresh_cache=found is None)(key=key)
        if found is not None:
            context.progress.finish(found, cached=True)
            return found
        manifest = read_stage(context.storage, stage.name, key, check_files=False)
        assert manifest is not None, f"stage {stage.name} ended without its manifest"
        return manifest

    call.__name__ = stage.name.replace("-", "_")
    return call


def run_name(stage: Stage, jobs: Sequence[Job], key: str) -> str:
    """What the UI shows, as in ``score, 3 partitions, 1f3a9c``."""
    how_many = f"{len(jobs)} partitions" if len(jobs) != 1 else "1 partition"
    return f"{stage.name}, {how_many}, {key[:6]}"


@cache
def _result_storage(root: str) -> Any:
    """Where Prefect keeps its records of stages: under a remote root, that every worker sees; else in its own folder (none).

    The block on the server holds the place only; credentials come from the environment, as everywhere.
    """
    if "://" not in root:
        return None
    from prefect.filesystems import RemoteFileSystem

    place = RemoteFileSystem(basepath=f"{root}/prefect", settings={"use_listings_cache": False})
    place.save(f"hardmine-{digest(root)[:12]}", overwrite=True)
    return place


def _prefect_task(stage: Stage, run_name: str, place: Any, work: Callable[[], StageManifest]) -> Any:
    from prefect import task

    def body(key: str) -> dict[str, str]:
        manifest = work()
        return {"stage": manifest.stage, "key": manifest.key}

    return task(
        name=stage.name,
        task_run_name=run_name,
        cache_key_fn=lambda _, parameters: f"{stage.name.replace('-', '_')}_{parameters['key']}",
        persist_result=True,
        result_storage=place,
        result_serializer="json",
    )(body)


def _inside_flow() -> bool:
    import sys

    if "prefect" not in sys.modules:
        return False
    from prefect.context import FlowRunContext

    return FlowRunContext.get() is not None
