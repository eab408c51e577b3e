"""All named recipes, and how a run's settings name one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from tasks.errors import UsageError, nearest
from tasks.select.limited import limited
from tasks.select.published import Published
from tasks.select.recipe import Facts, Recipe
from tasks.select.recipes.ance import ANCE, STAR
from tasks.select.recipes.bge import BGE
from tasks.select.recipes.ccr_sieve import CCRSieve
from tasks.select.recipes.clusters import OtherClusters, TASBalanced, Topic
from tasks.select.recipes.curricula import CLDRD, Curriculum
from tasks.select.recipes.dpr import DPR
from tasks.select.recipes.hardmine import Hardmine
from tasks.select.recipes.mixes import ImprovedContrast, Quotas
from tasks.select.recipes.nv_retriever import NVRetriever
from tasks.select.recipes.quantiles import QueryQuantiles
from tasks.select.recipes.rance import RANCE
from tasks.select.recipes.rocketqa import PAIR, RocketQA
from tasks.select.recipes.sentence_transformers import SentenceTransformers
from tasks.select.recipes.simans import SimANS
from tasks.select.recipes.static import BM25Static, InBatch
from tasks.select.recipes.top import SkipN, TopK
from tasks.select.recipes.trisampler import TriSampler
from tasks.select.recipes.windows import AmbiguousWindow, Band
from tasks.select.siblings import without_siblings
from tasks.settings import explain

RECIPES: tuple[type[Published], ...] = (
    AmbiguousWindow,
    ANCE,
    Band,
    BGE,
    BM25Static,
    CCRSieve,
    CLDRD,
    Curriculum,
    DPR,
    Hardmine,
    ImprovedContrast,
    InBatch,
    NVRetriever,
    OtherClusters,
    PAIR,
    QueryQuantiles,
    Quotas,
    RANCE,
    RocketQA,
    SentenceTransformers,
    SimANS,
    SkipN,
    STAR,
    TASBalanced,
    TopK,
    Topic,
    TriSampler,
)


def recipe_names() -> list[str]:
    """Names of the published recipes."""
    return sorted(_by_name())


def recipe_class(name: str) -> type[Published]:
    """The settings class of a named recipe.

    Raises:
        UsageError: there is no recipe of that name; the nearest one is given.
    """
    if name not in _by_name():
        raise UsageError(f"recipe: there is no recipe {name!r}", nearest(name.lower().replace("_", "-"), recipe_names()))
    return _by_name()[name]


def is_published(wanted: str | Mapping[str, Any]) -> bool:
    """Whether these are settings of a published recipe: a recipe with ``rules`` or ``draws`` of its own is free, whatever its name."""
    return isinstance(wanted, str) or not ("rules" in wanted or "draws" in wanted)


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
        if not is_published(settings):
            return without_siblings(Recipe.model_validate({"num_negatives": facts.num_negatives, **settings}), facts.chunked)
        published = recipe_class(str(settings.get("name", ""))).model_validate(settings)
        own = replace(facts, num_negatives=published.num_negatives or facts.num_negatives)
        return without_siblings(limited(published.compose(own), published.limits), facts.chunked)
    except ValidationError as error:
        raise UsageError(*explain(error, prefix="recipe")) from error
    except ValueError as error:
        raise UsageError(f"recipe {settings.get('name')}: {error}") from error


def _by_name() -> dict[str, type[Published]]:
    return {str(recipe.model_fields["name"].default): recipe for recipe in RECIPES}
