"""Selection as Prefect tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.select import asking, hubs
from tasks.select import probe as probes
from tasks.select.inputs import Features
from tasks.select.recipe import Recipe
from tasks.select.stage import STAGE, jobs, selection_id
from tasks.store.manifest import Part, StageManifest

_select = stage_task(STAGE)
_limit = stage_task(hubs.STAGE)
_probe = stage_task(probes.STAGE)
_ask = stage_task(asking.STAGE)


def select(
    context: Context,
    scored: Sequence[Part],
    recipe: Recipe,
    sources: Sequence[str],
    candidate_set_id: str,
    seed: int,
    features: Features | None = None,
    vectors: Sequence[Part] = (),
    queries: Sequence[Part] = (),
) -> tuple[StageManifest, str]:
    """A recipe's decisions and training rows: stage ``select``, and the selection's id.

    Stage ``hub-limits`` runs before it, only if one of the recipe's limits must be decided over all queries.

    Args:
        context: storage, executor, progress.
        scored: parts of the scored table.
        recipe: what to apply.
        sources: the round's.
        candidate_set_id: identity of the scored table.
        seed: of all random draws.
        features: parts by feature, for all that ``recipe.needs.features`` names.
        vectors: parts of ``embed-documents``; read only for diversity.
        queries: parts with queries.parquet, in the order of ``scored``: who counts for the limits over all queries.

    Raises:
        UsageError: a feature or vectors are missing, or the recipe's SQL does not fit the table.
    """
    banned = _banned(context, scored, recipe, sources, seed, features, vectors, queries)
    manifest = _select(context, jobs(scored, recipe, sources, candidate_set_id, seed, features, banned, vectors))
    return manifest, selection_id(candidate_set_id, recipe, seed, features, banned)


def probe(
    context: Context,
    scored: Sequence[Part],
    recipe: Recipe,
    sources: Sequence[str],
    candidate_set_id: str,
    seed: int,
    features: Features | None = None,
    vectors: Sequence[Part] = (),
    queries: Sequence[Part] = (),
) -> StageManifest:
    """Which planted positives the recipe would have trained with as negatives: stage ``probe``. Arguments as for :func:`select`."""
    banned = _banned(context, scored, recipe, sources, seed, features, vectors, queries)
    return _probe(context, probes.jobs(scored, recipe, sources, candidate_set_id, seed, features, banned, vectors))


def ask(
    context: Context,
    scored: Sequence[Part],
    pairs: Sequence[Part],
    recipe: Recipe,
    sources: Sequence[str],
    teacher: Mapping[str, Any],
    seed: int,
    features: Features | None = None,
    wave: int = 1,
) -> StageManifest:
    """Which candidates a lazy teacher must be asked about next: stage ``asking``. Arguments as for :func:`tasks.select.asking.jobs`."""
    return _ask(context, asking.jobs(scored, pairs, recipe, sources, teacher, seed, features, wave))


def _banned(
    context: Context,
    scored: Sequence[Part],
    recipe: Recipe,
    sources: Sequence[str],
    seed: int,
    features: Features | None,
    vectors: Sequence[Part],
    queries: Sequence[Part],
) -> Sequence[Part]:
    """The part of stage ``hub-limits``, if a limit is global."""
    if not recipe.limits.are_global:
        return ()
    return _limit(context, hubs.jobs(scored, recipe, sources, seed, features, vectors, queries)).parts
