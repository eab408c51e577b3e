"""A recipe with what judges said of its negatives in it, and without."""

from __future__ import annotations

from typing import Any

from tasks.judge.settings import JudgeSettings
from tasks.select.recipe import PseudoPositives, Recipe
from tasks.select.rules.base import null_reason
from tasks.select.rules.judged import JudgedRelevant

_SUFFIX = "-judged"


def with_judgements(recipe: Recipe, settings: JudgeSettings, stored: tuple[str, int, str], unjudged: str) -> Recipe:
    """The recipe ``<name>-judged``: with the rule judged_relevant over a stored table, and pseudo-positives where pairs are relabelled."""
    rule = JudgedRelevant.model_validate(
        {"threshold": settings.threshold, "drop_pair": settings.action == "drop_pair", "on_null": unjudged}
    )
    named: dict[str, Any] = recipe.model_dump(mode="json")
    rules = [rule.model_dump(mode="json"), *named["rules"]]  # the first rule that applies is the reason
    needs = named["needs"]
    features = {**needs["features"], "judged": dict(zip(("path", "bytes", "checksum"), stored, strict=True))}
    named |= {"name": f"{recipe.name}{_SUFFIX}", "rules": rules, "needs": {**needs, "features": features}}
    if settings.action == "relabel":
        relabel = PseudoPositives(score="judge_relevance", above=settings.relabel_from, take=settings.relabel_per_query)
        named["pseudo_positives"] = relabel.model_dump(mode="json")
    return Recipe.model_validate(named)


def without_judgements(recipe: Recipe) -> Recipe:
    """The recipe that :func:`with_judgements` was given; one without judgements as it is."""
    named: dict[str, Any] = recipe.model_dump(mode="json")
    needs = named["needs"]
    if "judged" not in needs["features"]:
        return recipe
    features = {name: given for name, given in needs["features"].items() if name != "judged"}
    rules = [rule for rule in named["rules"] if rule["kind"] != "judged_relevant"]
    unjudged = null_reason("judge_relevance")
    draws = [{**draw, "waive": [reason for reason in draw["waive"] if reason != unjudged]} for draw in named["draws"]]
    named |= {"name": recipe.name.removesuffix(_SUFFIX), "rules": rules, "draws": draws, "needs": {**needs, "features": features}}
    if recipe.pseudo_positives is not None and recipe.pseudo_positives.score == "judge_relevance":
        named["pseudo_positives"] = None
    return Recipe.model_validate(named)
