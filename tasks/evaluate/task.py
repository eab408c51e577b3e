"""Evaluating a checkpoint as a Prefect task."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.evaluate.settings import EvaluateSettings
from tasks.evaluate.stage import STAGE, jobs
from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.store.manifest import Part, StageManifest

_evaluate = stage_task(STAGE)


def evaluate(
    context: Context,
    queries: Sequence[Part],
    documents: Sequence[Part],
    query_vectors: Sequence[Part],
    document_vectors: Sequence[Part],
    settings: EvaluateSettings,
    positive_min_grade: int = 1,
) -> StageManifest:
    """Measures of a checkpoint on one split: stage ``evaluate``. See :func:`tasks.evaluate.stage.jobs`."""
    return _evaluate(context, jobs(queries, documents, query_vectors, document_vectors, settings, positive_min_grade))
