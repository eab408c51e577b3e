"""Scoring as a Prefect task."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.folds import Fold
from tasks.models.fingerprint import ModelSpec
from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.score import ensemble as several
from tasks.score.stage import STAGE, jobs
from tasks.score.stage import Asked as Asked
from tasks.store.manifest import Part, StageManifest

_score = stage_task(STAGE)
_ensemble = stage_task(several.STAGE)


def score(
    context: Context,
    candidates: Sequence[Part],
    queries: Sequence[Part],
    documents: Sequence[Part],
    spec: ModelSpec,
    depth: int,
    sources: Sequence[str],
    pairs_per_partition: int,
    teacher: Part | None,
    fold: Fold | None = None,
    fold_seed: int = 0,
    asked: Asked | None = None,
) -> StageManifest:
    """The teacher's logits: stage ``score``. Pairs that the pair store holds are not scored again. See :func:`tasks.score.stage.jobs`."""
    work = jobs(context.storage, candidates, queries, documents, spec, depth, sources, pairs_per_partition, teacher, fold, fold_seed, asked)
    return _score(context, work)


def ensemble(context: Context, members: Sequence[Sequence[Part]], partitions: Sequence[str]) -> StageManifest:
    """Several teachers' logits as their mean, with the disagreement: stage ``ensemble``."""
    return _ensemble(context, several.jobs(members, partitions))
