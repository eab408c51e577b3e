"""Selection as Prefect tasks."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.select import hubs
from tasks.select.inputs import Features
from tasks.select.recipe import Recipe
from tasks.select.stage import STAGE, jobs, selection_id
from tasks.store.manifest import Part, StageManifest

_select = stage_task(STAGE)
_limit = stage_task(hubs.STAGE)


def select(
    context: Context,
    scored: Sequence[Part],
    recipe: Recipe,
    sources: Sequence[str],
    candidate_set_id: str,
    seed: int,
    features: Features | None = None,
    vectors: Sequence[Part] = (),
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

    Raises:
        UsageError: a feature or vectors are missing, or the recipe's SQL does not fit the table.
    """
    banned: Sequence[Part] = ()
    if recipe.limits.are_global:
        banned = _limit(context, hubs.jobs(scored, recipe, sources, seed, features, vectors)).parts
    manifest = _select(context, jobs(scored, recipe, sources, candidate_set_id, seed, features, banned, vectors))
    return manifest, selection_id(candidate_set_id, recipe, seed, features)
