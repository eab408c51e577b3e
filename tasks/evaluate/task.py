"""Evaluating a checkpoint as a Prefect task."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.evaluate import rerank
from tasks.evaluate.judgements import Judgements
from tasks.evaluate.settings import EvaluateSettings
from tasks.evaluate.stage import STAGE, jobs
from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.store.manifest import Part, StageManifest

_evaluate = stage_task(STAGE)
_evaluate_teacher = stage_task(rerank.STAGE)


def evaluate(
    context: Context,
    queries: Sequence[Part],
    documents: Sequence[Part],
    query_vectors: Sequence[Part],
    document_vectors: Sequence[Part],
    settings: EvaluateSettings,
    positive_min_grade: int = 1,
    judgements: Judgements | None = None,
    scored: Sequence[Part] = (),
    dataset: str = "",
) -> StageManifest:
    """Measures of a checkpoint on one split: stage ``evaluate``. See :func:`tasks.evaluate.stage.jobs`."""
    work = jobs(queries, documents, query_vectors, document_vectors, settings, positive_min_grade, judgements, scored, dataset)
    return _evaluate(context, work)


def evaluate_teacher(
    context: Context, scored: Sequence[Part], queries: Sequence[Part], settings: EvaluateSettings, positive_min_grade: int = 1
) -> StageManifest:
    """The teacher's ranking of one split's candidates beside the retriever's: stage ``evaluate-teacher``."""
    return _evaluate_teacher(context, rerank.jobs(scored, queries, settings, positive_min_grade))
