"""The SQL of a recipe: rules, survivors, draws and decisions, as one query over one partition of the scored table.

Common table expressions, in order: ``base`` (candidates, one row a positive if the recipe compares with the row's own),
``judged`` (all reasons of every row), ``draw_0 …`` (each anti-joined on the earlier ones of its stage), then the decisions.
Every ORDER BY is total: document ids break all ties.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasks.select.draws import Draw
from tasks.select.recipe import Recipe
from tasks.sql import quote_identifier, quote_literal

ANCHOR = "query_id, anchor"


def decisions_sql(recipe: Recipe, stage: str, scores: Sequence[str], selection_id: str) -> str:
    """The query that gives :data:`tasks.schema.DECISIONS` for one training stage of a recipe.

    It reads the relation ``scored``, which must have a column ``u_<stage>_<draw>`` of uniform numbers for each random draw.

    Args:
        recipe: the recipe.
        stage: which of its stages.
        scores: score columns of the table, for recipes that compare with the row's own positive.
        selection_id: written into each row.
    """
    draws = [draw for draw in recipe.draws if draw.stage == stage]
    ctes = [f"base AS ({_base(recipe, scores)})", f"judged AS ({_judged(recipe)})", f"draw_0 AS ({_survivors(recipe)})"]
    ctes += [f"draw_{number} AS ({_draw(recipe, draw, number)})" for number, draw in enumerate(draws, start=1)]
    return f"WITH {', '.join(ctes)} {_decisions(recipe, f'draw_{len(draws)}', stage, selection_id)}"


def uniform_column(draw: Draw) -> str:
    """Name of the column with a random draw's uniform numbers."""
    return f"u_{draw.stage}_{draw.name}"


def rows_sql(stage: str, selection_id: str) -> str:
    """The query that gives :data:`tasks.schema.ROWS` for one stage, from ``decisions`` and ``scored`` (with a column ``u_row``).

    An anchor row is a (query, positive) pair, numbered in hashed order. Its slot 0 is the positive; negatives follow, hardest first.
    """
    return f"""
WITH anchors AS (
  SELECT query_id, doc_id AS positive_id, row_number() OVER (ORDER BY u_row, query_id, doc_id) - 1 AS row_no
  FROM (SELECT DISTINCT query_id, doc_id FROM decisions WHERE decision IN ('positive', 'pseudo_positive'))
  JOIN scored USING (query_id, doc_id)
), members AS (
  SELECT row_no, query_id, positive_id, 0 AS slot, positive_id AS doc_id, 1.0 AS label, 1.0 AS weight FROM anchors
  UNION ALL
  SELECT a.row_no, a.query_id, a.positive_id, d.slot, d.doc_id, d.label, d.weight
  FROM anchors a JOIN decisions d ON d.query_id = a.query_id AND (d.positive_id IS NULL OR d.positive_id = a.positive_id)
  WHERE d.decision = 'negative'
)
SELECT {quote_literal(selection_id)} AS selection_id, {quote_literal(stage)} AS stage, 0::INTEGER AS epoch, m.row_no::BIGINT AS row_no,
       m.query_id, m.positive_id, m.slot::INTEGER AS slot, m.doc_id, m.label::FLOAT AS label, m.weight::FLOAT AS weight,
       s.query_row, s.doc_partition, s.doc_row
FROM members m JOIN scored s ON s.query_id = m.query_id AND s.doc_id = m.doc_id
ORDER BY m.row_no, m.slot"""


def _base(recipe: Recipe, scores: Sequence[str]) -> str:
    if not recipe.per_positive:
        return "SELECT *, '' AS anchor FROM scored"
    own = ", ".join(f"p.{quote_identifier(score)} AS {quote_identifier(f'own_{score}')}" for score in scores)
    return f"SELECT s.*, p.doc_id AS anchor, {own} FROM scored s JOIN scored p ON p.query_id = s.query_id AND p.is_positive"


def _judged(recipe: Recipe) -> str:
    labelled = "CASE WHEN relevance IS NOT NULL AND NOT is_positive THEN 'labelled' END"
    found = ", ".join([labelled, *(rule.sql() for rule in recipe.rules)])
    distinct = f"list_filter([{found}], lambda r: r IS NOT NULL)"
    once = f"list_filter({distinct}, lambda r, i: list_position({distinct}, r) = i)"
    return f"SELECT *, CASE WHEN is_positive THEN [] ELSE {once} END::VARCHAR[] AS reasons FROM base"


def _survivors(recipe: Recipe) -> str:
    survives = "(NOT is_positive AND len(reasons) = 0)"
    order = f"{quote_identifier(recipe.rank_by)} DESC NULLS LAST, doc_id"
    pseudo = _pseudo_positives(recipe)
    rank = f"row_number() OVER (PARTITION BY {ANCHOR}, {survives} ORDER BY {order})"
    return f"""SELECT *, CASE WHEN {survives} THEN {rank} END AS survivor_rank, {pseudo} AS pseudo,
  NULL::VARCHAR AS drawn, NULL::FLOAT AS label, 1.0::FLOAT AS weight FROM judged"""


def _pseudo_positives(recipe: Recipe) -> str:
    wanted = recipe.pseudo_positives
    if wanted is None:
        return "false"
    score = quote_identifier(wanted.score)
    names = [quote_literal(rule.name) for rule in recipe.rules if rule.kind in ("duplicate", "near_duplicate", "near_duplicate_cosine")]
    copies = f"list_has_any(reasons, [{', '.join(names)}]::VARCHAR[])"
    likely = f"(coalesce({score} > {wanted.above!r}, false) AND relevance IS NULL AND NOT {copies})"
    return f"({likely} AND row_number() OVER (PARTITION BY {ANCHOR}, {likely} ORDER BY {score} DESC, doc_id) <= {wanted.take})"


def _draw(recipe: Recipe, draw: Draw, number: int) -> str:
    eligible = f"(NOT is_positive AND NOT pseudo AND drawn IS NULL AND {draw.eligible()})"
    order = draw.order.sql(quote_identifier(uniform_column(draw)))
    taken = f"count(drawn) OVER (PARTITION BY {ANCHOR})"
    take = str(draw.take) if draw.take is not None else f"greatest(0, {recipe.num_negatives} - {taken})"
    chosen = f"eligible AND place <= {take}"
    return f"""SELECT * EXCLUDE (eligible, place) REPLACE (
    CASE WHEN {chosen} THEN {quote_literal(draw.name)} ELSE drawn END AS drawn,
    CASE WHEN {chosen} THEN {draw.label!r}::FLOAT ELSE label END AS label,
    CASE WHEN {chosen} THEN {draw.weight!r}::FLOAT ELSE weight END AS weight)
  FROM (SELECT *, {eligible} AS eligible,
    row_number() OVER (PARTITION BY {ANCHOR}, {eligible} ORDER BY {order}, doc_id) AS place FROM draw_{number - 1})"""


def _decisions(recipe: Recipe, last: str, stage: str, selection_id: str) -> str:
    decision = """CASE WHEN is_positive THEN 'positive' WHEN pseudo THEN 'pseudo_positive' WHEN drawn IS NOT NULL THEN 'negative'
    WHEN reasons = ['unscored'] THEN 'unscored' WHEN len(reasons) > 0 THEN 'rejected' ELSE 'not_drawn' END"""
    hardest = f"{quote_identifier(recipe.rank_by)} DESC NULLS LAST, doc_id"
    return f"""
SELECT {quote_literal(selection_id)} AS selection_id, {quote_literal(stage)} AS stage, query_id, doc_id, nullif(anchor, '') AS positive_id,
  {decision} AS decision,
  CASE WHEN is_positive THEN 'labelled_positive' WHEN pseudo THEN 'pseudo_positive' WHEN drawn IS NOT NULL THEN 'drawn'
    WHEN len(reasons) > 0 THEN reasons[1] ELSE 'quota_full' END AS reason,
  reasons, survivor_rank::INTEGER AS survivor_rank, drawn AS draw,
  CASE WHEN drawn IS NOT NULL
    THEN row_number() OVER (PARTITION BY {ANCHOR}, drawn IS NOT NULL ORDER BY {hardest}) END::INTEGER AS slot,
  label, weight
FROM {last} ORDER BY query_id, anchor, doc_id"""
