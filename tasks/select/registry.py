"""All named recipes, and how a run's settings name one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tasks.errors import UsageError, nearest
from tasks.select.published import Published
from tasks.select.recipe import Facts, Recipe
from tasks.select.recipes.bge import BGE
from tasks.select.recipes.nv_retriever import NVRetriever
from tasks.select.recipes.rocketqa import RocketQA
from tasks.select.recipes.sentence_transformers import SentenceTransformers
from tasks.select.recipes.simans import SimANS
from tasks.select.recipes.top import SkipN, TopK
from tasks.settings import explain

RECIPES: tuple[type[Published], ...] = (BGE, NVRetriever, RocketQA, SentenceTransformers, SimANS, SkipN, TopK)


def recipe_names() -> list[str]:
    """Names of the published recipes."""
    return sorted(_by_name())


def recipe_class(name: str) -> type[Published]:
    """The settings class of a named recipe.

    Raises:
        UsageError: there is no recipe of that name; the nearest one is given.
    """
    if name not in _by_name():
        raise UsageError(f"recipe: there is no recipe {name!r}", nearest(name, recipe_names()))
    return _by_name()[name]


def compose_recipe(wanted: str | Mapping[str, Any], facts: Facts) -> Recipe:
    """The rules and draws that a run's ``recipe`` stands for.

    Args:
        wanted: a name; settings with the ``name`` of a published recipe; or a free recipe, with ``rules`` or ``draws`` of its own.
        facts: what recipes may depend on.

    Raises:
        UsageError: unknown name or setting, or settings that do not fit together.
    """
    settings: dict[str, Any] = {"name": wanted} if isinstance(wanted, str) else dict(wanted)
    try:
        if "rules" in settings or "draws" in settings:
            return Recipe.model_validate({"num_negatives": facts.num_negatives, **settings})
        published = recipe_class(str(settings.get("name", ""))).model_validate(settings)
        own = Facts(published.num_negatives or facts.num_negatives, facts.max_positives)
        return published.compose(own)
    except ValidationError as error:
        raise UsageError(*explain(error, prefix="recipe")) from error
    except ValueError as error:
        raise UsageError(f"recipe {settings.get('name')}: {error}") from error


def _by_name() -> dict[str, type[Published]]:
    return {str(recipe.model_fields["name"].default): recipe for recipe in RECIPES}
