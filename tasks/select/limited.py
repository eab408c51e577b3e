"""A recipe with a user's constraints."""

from __future__ import annotations

from tasks.select.limits import Limits
from tasks.select.recipe import Recipe


def limited(recipe: Recipe, limits: Limits) -> Recipe:
    """The recipe under further limits; those that are given stand before the recipe's own.

    The recipe asks for the features that its limits compare (:class:`tasks.select.recipe.Recipe`); settings that it gave itself stay.

    Args:
        recipe: as composed.
        limits: from the settings of a run.
    """
    given = {name: getattr(limits, name) for name in limits.model_fields_set}
    if not given:
        return recipe
    own = {name: getattr(recipe.limits, name) for name in Limits.model_fields}
    return Recipe.model_validate({**{name: getattr(recipe, name) for name in Recipe.model_fields}, "limits": Limits(**{**own, **given})})
