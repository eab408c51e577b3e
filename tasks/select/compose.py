"""The SQL of a recipe: all reasons of every candidate in one query, then one query a draw.

Between them stand joins and sums over whole arrays (:mod:`tasks.select.decide`): limits, ranks of the survivors, who was drawn.
The queries read the relation ``base``: the candidates sorted by query_id, anchor and doc_id, with ``_place`` (number, which breaks all
ties), ``_group`` (number of the query, or of its positive if the recipe compares with the row's own) and, for a draw, ``_open``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tasks.schema import REVIEWED
from tasks.select.columns import asks_teacher
from tasks.select.draws import Draw
from tasks.select.recipe import Recipe
from tasks.sql import quote_identifier, quote_literal

SEPARATOR = " "  # no reason has one


def uniform_column(draw: Draw) -> str:
    """Name of the column with a random draw's uniform numbers."""
    return f"u_{draw.stage}_{draw.name}"


def pairs_sql(columns: Sequence[str], scores: Sequence[str]) -> str:
    """Each candidate with each positive of its query: ``base`` of a recipe that compares with the row's own positive.

    It reads ``scored`` with ``_row``, in the order of query_id and doc_id. Candidates of a query without positives have an empty anchor.

    Args:
        columns: of the scored table, to keep.
        scores: score columns, whose value for the positive becomes ``own_<score>``.
    """
    kept = "".join(f", s.{quote_identifier(name)}" for name in columns)
    own = "".join(f", p.{quote_identifier(score)} AS {quote_identifier(f'own_{score}')}" for score in scores)
    return f"""SELECT s._row, coalesce(p._row, -1) AS _anchor, coalesce(p.doc_id, '') AS anchor{kept}{own}
FROM scored s LEFT JOIN (SELECT * FROM scored WHERE is_positive) p ON p.query_id = s.query_id
ORDER BY s.query_id, p._row, s._row"""


def judge_sql(recipe: Recipe, hopeful: bool = False) -> str:
    """All reasons of every candidate, in the rules' order, as one text.

    Args:
        recipe: the recipe.
        hopeful: rules over the teacher's scores let pass whatever is ``_waiting`` for one.
    """
    labelled = f"""CASE WHEN planted THEN 'planted'
    WHEN relevance IS NOT NULL AND NOT is_positive AND provenance IS DISTINCT FROM {quote_literal(REVIEWED)} THEN 'labelled' END"""
    rules = [rule.sql() for rule in recipe.rules]
    rules = [f"CASE WHEN NOT _waiting THEN {sql} END" if hopeful and asks_teacher(sql) else sql for sql in rules]
    found = ",\n  ".join([labelled, *rules, *recipe.limits.sql()])
    return f"SELECT _place, CASE WHEN is_positive THEN '' ELSE concat_ws({quote_literal(SEPARATOR)},\n  {found}) END AS found\nFROM base"


def draw_sql(draw: Draw) -> str:
    """What one draw may take, best first, with training weights."""
    order = draw.order.sql(quote_identifier(uniform_column(draw)))
    weight = f"coalesce(({draw.weight_by})::FLOAT, {draw.weight!r}::FLOAT)" if draw.weight_by else f"{draw.weight!r}::FLOAT"
    return f"""SELECT _place, {weight} AS _weight
FROM (SELECT * FROM (SELECT *, {draw.eligible()} AS eligible FROM base) WHERE eligible)
ORDER BY _group, {order}, _place"""


def decisions_sql(recipe: Recipe, stage: str, scores: Sequence[str], selection_id: str) -> str:
    """All queries of one training stage of a recipe, for people to read.

    Args:
        recipe: the recipe.
        stage: which of its stages.
        scores: score columns of the table.
        selection_id: of what they are shown for.
    """
    statements: list[str] = []
    if recipe.per_positive:
        words = recipe.words
        statements.append(f"-- base: each candidate with each positive\n{pairs_sql(sorted(words & {*scores}), own_scores(words, scores))}")
    statements.append(f"-- reasons\n{judge_sql(recipe)}")
    for draw in recipe.draws:
        if draw.stage == stage:
            take = draw.take if draw.take is not None else f"up to {recipe.num_negatives} in all"
            sliced = f", survivors [{draw.survivor_min}:{draw.survivor_max or ''}]" if draw.survivor_min or draw.survivor_max else ""
            statements.append(f"-- draw {draw.name}: {take}{sliced}\n{draw_sql(draw)}")
    return f"-- selection {selection_id}, stage {stage}\n" + ";\n\n".join(statements) + ";"


def own_scores(words: Collection[str], scores: Sequence[str]) -> list[str]:
    """The scores whose value for the row's own positive is compared."""
    return [score for score in scores if f"own_{score}" in words]
