"""Mixing datasets as a Prefect task."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.mixture.settings import MixtureSettings
from tasks.mixture.stage import STAGE, Ingredient, folder_of, jobs
from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.store.manifest import StageManifest

_mixture = stage_task(STAGE)


def mixture(
    context: Context, format_name: str, ingredients: Sequence[Ingredient], settings: MixtureSettings, rows_per_shard: int
) -> tuple[StageManifest, str]:
    """One format over all datasets: stage ``mixture``, and the folder under the root that a trainer is pointed to."""
    work = jobs(format_name, ingredients, settings, rows_per_shard)
    return _mixture(context, work), folder_of(work)
