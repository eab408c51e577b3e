"""Selection as a Prefect task."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.select.recipe import Recipe
from tasks.select.stage import STAGE, jobs, selection_id
from tasks.store.manifest import Part, StageManifest

_select = stage_task(STAGE)


def select(
    context: Context, scored: Sequence[Part], recipe: Recipe, sources: Sequence[str], candidate_set_id: str, seed: int
) -> tuple[StageManifest, str]:
    """A recipe's decisions and training rows: stage ``select``, and the selection's id."""
    manifest = _select(context, jobs(scored, recipe, sources, candidate_set_id, seed))
    return manifest, selection_id(candidate_set_id, recipe, seed)
