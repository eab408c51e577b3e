"""Whether a teacher may stop before it has scored all candidates, and nothing that a recipe draws would be another.

It may where each decision about a candidate rests on its own row and its query's positives, and each draw takes candidates in an order
that is known before the teacher is asked: by the retriever's score, or by hash. No candidate that was not reached can then displace one
that was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tasks.select.columns import asks_teacher, mentioned
from tasks.select.draws import Binned, Draw, Random
from tasks.select.rules.lists import ListRule

if TYPE_CHECKING:
    from tasks.select.recipe import Recipe

_OTHERS = {"over", "select", "survivor_rank", "reasons"}  # SQL that looks at more than a candidate's own row


def why_all(recipe: Recipe) -> str:
    """Why the teacher must score every candidate for a recipe; empty: it may stop as soon as nothing can change any more."""
    return next((reason for reason in _reasons(recipe)), "")


def fills_up(recipe: Recipe, draw: Draw) -> bool:
    """Whether a draw takes only what another of its stage, in an order that is known before, has left open."""
    own = [other for other in recipe.draws if other.stage == draw.stage]
    before = own[: own.index(draw)]
    return draw.take is None and any(other.take is None and not by_teacher(other) for other in before)


def by_teacher(draw: Draw) -> bool:
    """Whether a draw's order is the teacher's."""
    return asks_teacher(_order(draw))


def _reasons(recipe: Recipe) -> Iterator[str]:
    if not asks_teacher(*recipe.words):
        yield "it compares none of the teacher's scores, and needs no teacher at all"
    if "teacher_calibrated" in {word.removeprefix("own_").removeprefix("positive_") for word in _stems(recipe)}:
        yield "teacher_calibrated is fitted on the scores of all candidates"
    if recipe.pseudo_positives is not None:
        yield "its pseudo-positives are the best of all candidates by the teacher"
    if recipe.limits.diversity is not None:
        yield "limits.diversity weighs many candidates of a query against each other"
    if recipe.limits.queries_per_document is not None:
        yield "limits.queries_per_document: a query that loses a document draws again, further down"
    for rule in recipe.rules:
        if asks_teacher(rule.sql()) and (isinstance(rule, ListRule) or mentioned([rule.sql()]) & _OTHERS):
            yield f"rule {rule.name!r} compares a teacher's score with those of the query's other candidates"
    for draw in recipe.draws:
        yield from _of_draw(recipe, draw)


def _of_draw(recipe: Recipe, draw: Draw) -> Iterator[str]:
    if mentioned([_order(draw), draw.pool or "", draw.weight_by or ""]) & _OTHERS or isinstance(draw.order, Binned):
        yield f"draw {draw.name!r} looks at all candidates that are left"
    if by_teacher(draw) and not fills_up(recipe, draw):
        yield f"draw {draw.name!r} goes by the teacher's scores: any candidate may come first"
    if (draw.survivor_min or draw.survivor_max) and asks_teacher(recipe.rank_by):
        yield f"draw {draw.name!r} takes from a slice of the ranking by {recipe.rank_by}: any candidate may come first"


def _order(draw: Draw) -> str:
    return "" if isinstance(draw.order, Random | Binned) else draw.order.sql("u")


def _stems(recipe: Recipe) -> Iterator[str]:
    """Words of a recipe's SQL without the statistic of the positives' columns."""
    for word in recipe.words:
        yield word
        for statistic in ("_min", "_mean", "_max"):
            yield word.removesuffix(statistic)
