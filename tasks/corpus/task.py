"""The corpus stages as Prefect tasks."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.corpus import capped, dataset, documents, groups, ingest, queries
from tasks.corpus.dataset import Dataset
from tasks.corpus.settings import DatasetSettings
from tasks.corpus.sources import Source
from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.runner.stage import Job, Stage
from tasks.store.manifest import StageManifest

_TASKS = {stage.name: stage_task(stage) for stage in (ingest.STAGE, documents.STAGE, groups.STAGE, queries.STAGE, capped.STAGE)}


def ingest_dataset(context: Context, settings: DatasetSettings, seed: int, further: Sequence[Source] = ()) -> Dataset:
    """Read a dataset: ``ingest``, ``documents``, ``query-groups`` and ``queries``. See :func:`tasks.corpus.dataset.ingest_dataset`."""

    def run(context: Context, stage: Stage, jobs: Sequence[Job]) -> StageManifest:
        return _TASKS[stage.name](context, jobs)

    return dataset.ingest_dataset(context, settings, seed, run, further)
