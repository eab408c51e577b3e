"""Training a retriever as a Prefect task."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.finetune.mixture import mixture_jobs
from tasks.finetune.stage import NOTHING_BEHIND, STAGE, Behind, Mined, jobs
from tasks.models.settings import ModelSettings
from tasks.models.train_settings import TrainSettings
from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.store.manifest import Part, StageManifest

_train = stage_task(STAGE)


def train_retriever(
    context: Context,
    mined: Mined,
    queries: Sequence[Part],
    model: ModelSettings,
    settings: TrainSettings,
    suspect_reasons: Sequence[str],
    stages: Sequence[str] = ("main",),
    earlier: Sequence[Mined] = (),
    document_vectors: Sequence[Part] = (),
    behind: Behind = NOTHING_BEHIND,
) -> StageManifest:
    """The next checkpoint: stage ``train-retriever``. See :func:`tasks.finetune.stage.jobs`."""
    work = jobs(context.storage, mined, queries, model, settings, suspect_reasons, stages, earlier, document_vectors, behind)
    return _train(context, work)


def train_on_mixture(
    context: Context, part: Part, queries: Sequence[Part], model: ModelSettings, settings: TrainSettings, behind: Behind = NOTHING_BEHIND
) -> StageManifest:
    """The next checkpoint from a mixture's files: stage ``train-retriever``. See :func:`tasks.finetune.mixture.mixture_jobs`."""
    return _train(context, mixture_jobs(context.storage, part, queries, model, settings, behind))
