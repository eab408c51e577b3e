"""Chunks of a positive's document: no negatives, unless a recipe takes them."""

from __future__ import annotations

from tasks.select.recipe import Recipe
from tasks.select.rules.groups import SameGroup

REASON = "sibling_chunk"


def without_siblings(recipe: Recipe, chunked: bool) -> Recipe:
    """The recipe with a rule against sibling chunks: what stands beside a positive in one document is likely relevant, too.

    Args:
        recipe: as composed; one that names ``in_positive_group`` itself (a draw of context negatives, the rule same_group) stays as it is.
        chunked: whether documents are chunks.
    """
    if not chunked or "in_positive_group" in recipe.words:
        return recipe
    rules = (*recipe.rules, SameGroup(on_null="keep", reason=REASON))
    return Recipe.model_validate({**{name: getattr(recipe, name) for name in Recipe.model_fields}, "rules": rules})
