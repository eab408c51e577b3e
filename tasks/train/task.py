"""Training a teacher as a Prefect task."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.models.settings import TeacherSettings
from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.store.manifest import Part, StageManifest
from tasks.train.teacher import STAGE, jobs

_train = stage_task(STAGE)


def train_teacher(
    context: Context,
    candidates: Sequence[Part],
    queries: Sequence[Part],
    documents: Sequence[Part],
    settings: TeacherSettings,
    sources: Sequence[str],
    to_score: int,
) -> StageManifest:
    """A cross-encoder from the round's own labels, or one a fold: stage ``train-teacher``."""
    return _train(context, jobs(context.storage, candidates, queries, documents, settings, sources, to_score))
