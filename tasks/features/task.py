"""The stages of features as Prefect tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.features import sampled
from tasks.features import scored as table
from tasks.features.base import FeatureInputs as FeatureInputs
from tasks.features.registry import FEATURES, check
from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context, stage_key
from tasks.runner.stage import Job, Stage
from tasks.store.manifest import Part, StageManifest

_scored = stage_task(table.STAGE)
_sampled = stage_task(sampled.STAGE)
_TASKS = {stage.name: stage_task(stage) for feature in FEATURES.values() for stage in feature.stages}


def scored(
    context: Context,
    sources: Sequence[str],
    candidates: Sequence[Part],
    queries: Sequence[Part],
    documents: Sequence[Part],
    pairs: Sequence[Part],
    fixed_documents: Sequence[Part],
    fixed_queries: Sequence[Part],
    activation: str,
    calibration: Part | None = None,
    partial: Sequence[Mapping[str, Any]] = (),
    ensemble: bool = False,
) -> StageManifest:
    """Candidates with all scores: stage ``scored``. Arguments as for :func:`tasks.features.scored.jobs`."""
    given = (pairs, fixed_documents, fixed_queries, activation, calibration, partial, ensemble)
    return _scored(context, table.jobs(sources, candidates, queries, documents, *given))


def features(context: Context, wanted: Mapping[str, Mapping[str, Any]], inputs: FeatureInputs) -> dict[str, StageManifest]:
    """The features that a recipe asks for, beside the scored table. No model runs.

    Args:
        context: storage, executor, progress.
        wanted: settings by feature; ``{}`` for the defaults.
        inputs: what they are made from.

    Returns:
        By name, sorted, the manifest of the stage that wrote ``features.parquet``: one part for each of ``inputs.scored``, in that order.

    Raises:
        UsageError: a feature or a setting is unknown, or does not fit the round; nothing was run if a name is wrong.
    """
    settings = check(wanted)
    done: dict[str, StageManifest] = {}

    def call(stage: Stage, jobs: Sequence[Job]) -> StageManifest:
        key = stage_key(stage, jobs)
        if key not in done:
            done[key] = _TASKS[stage.name](context, jobs)
        return done[key]

    return {name: FEATURES[name].build(call, inputs, chosen) for name, chosen in settings.items()}


def sample_queries(
    context: Context, scored: Sequence[Part], queries: Sequence[str], feature: Sequence[Part] | None = None
) -> StageManifest:
    """Some queries of the scored table, or of a feature beside it: stage ``sampled``.

    Args:
        context: storage, executor, progress.
        scored: parts of ``scored``.
        queries: ids to keep.
        feature: parts of a feature, in the same order.
    """
    return _sampled(context, sampled.jobs(scored, queries, feature))
