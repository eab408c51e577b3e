"""A recipe with written negatives beside those that it draws."""

from __future__ import annotations

from typing import Any

from tasks.select.recipe import Recipe
from tasks.select.rules.base import null_reason
from tasks.write.settings import WriteSettings
from tasks.write.stage import SOURCE

#: rules that hold for written documents too; what the others compare (ranks, margins, labels of neighbours) they are meant to defy
_STILL = ("duplicate", "near_duplicate", "near_duplicate_cosine", "judged_relevant", "token_limit", "language", "where")
RELEVANT, TRIVIAL = "written_relevant", "written_trivial"


def with_written(recipe: Recipe, settings: WriteSettings, has_teacher: bool) -> Recipe:
    """The recipe ``<name>-written``: its draws take mined documents only, and one more draw takes written ones that pass the checks.

    Args:
        recipe: as composed, without written documents.
        settings: how many, and the checks' thresholds.
        has_teacher: whether there are logits to check by.
    """
    named: dict[str, Any] = recipe.model_dump(mode="json")
    written = f"{SOURCE}_rank IS NOT NULL"
    margin = f"teacher_logit < positive_teacher_logit_min - {settings.teacher_margin!r}"
    close = f"dense_score >= {settings.least_share!r} * positive_dense_score_min"
    checks = [(TRIVIAL, close), *([(RELEVANT, margin)] if has_teacher else [])]
    rules = [
        {"kind": "where", "predicate": f"NOT ({written}) OR coalesce({check}, true)", "on_null": "keep", "reason": reason}
        for reason, check in checks
    ]
    waived = sorted({reason for rule in recipe.rules for reason in _waived(rule, settings.judge is not None)})
    unjudged = [null_reason("judge_relevance")] if settings.judge else []  # mined documents are not judged here
    draws = []
    for stage in recipe.stages:
        order = {"kind": "top", "by": "dense_score"}
        draws.append({"name": "written", "stage": stage, "take": settings.per_query, "order": order, "pool": written, "waive": waived})
    for draw in named["draws"]:
        own = f"({draw['pool']}) AND " if draw["pool"] else ""
        draws.append({**draw, "pool": f"{own}{SOURCE}_rank IS NULL", "waive": [*draw["waive"], *unjudged]})
    named |= {"name": f"{recipe.name}-written", "rules": [*rules, *named["rules"]], "draws": draws}
    return Recipe.model_validate({**named, "num_negatives": recipe.num_negatives + settings.per_query})


def _waived(rule: Any, judged: bool) -> list[str]:
    """Reasons of a rule that do not count for written documents. ``judged``: a judge sees them; if none does, that is no reason."""
    nulls = [null_reason(column) for column in rule.columns()]
    if rule.kind not in _STILL:
        return [rule.name, *nulls]
    return nulls if rule.kind == "judged_relevant" and not judged else []
