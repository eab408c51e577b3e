"""The corpus stages as Prefect tasks."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.corpus import capped, chunks, dataset, documents, groups, ingest, queries, visible
from tasks.corpus.dataset import Dataset
from tasks.corpus.rejected import check_rejected
from tasks.corpus.settings import DatasetSettings
from tasks.corpus.sources import Source, find_sources
from tasks.models.spans import Sight
from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.runner.stage import Job, Stage
from tasks.store.manifest import StageManifest
from tasks.store.tables import read_table

_TASKS = {
    stage.name: stage_task(stage)
    for stage in (ingest.STAGE, documents.STAGE, groups.STAGE, queries.STAGE, chunks.STAGE, capped.STAGE, visible.STAGE)
}


def ingest_dataset(
    context: Context, settings: DatasetSettings, seed: int, further: Sequence[Source] = (), sight: Sight | None = None
) -> Dataset:
    """Read a dataset: ``ingest`` to ``queries``, and what the settings add. See :func:`tasks.corpus.dataset.ingest_dataset`."""

    def run(context: Context, stage: Stage, jobs: Sequence[Job]) -> StageManifest:
        return _TASKS[stage.name](context, jobs)

    return dataset.ingest_dataset(context, settings, seed, run, further, sight)


def ingest_documents(context: Context, settings: DatasetSettings) -> tuple[StageManifest, list[str]]:
    """Read a dataset's documents alone: ``ingest`` and ``documents``. There need be no query.

    Returns:
        (stage ``documents``, the texts of the dataset's own queries, of every split).

    Raises:
        InputError: sources are missing or unusable, or too many rows are.
    """
    read = _TASKS[ingest.STAGE.name](context, dataset.ingest_jobs(context.storage, settings, find_sources(settings)))
    check_rejected(context.storage, read.parts, settings.max_rejected, settings.name)
    files = [file for part in read.parts for file in part.files if file.name.startswith("queries-q")]
    texts = [text for file in files for text in read_table(context.storage, file, ["text"])["text"].to_pylist()]
    return _TASKS[documents.STAGE.name](context, dataset.documents_jobs(read)), texts
