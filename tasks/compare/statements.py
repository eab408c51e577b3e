"""The SQL behind a recipe's metrics: over ``anchors`` and ``drawn`` (see negatives.py), ``scored``, ``judged`` and ``relevant``."""

from __future__ import annotations

from tasks.compare.settings import MeasureSettings
from tasks.sql import quote_literal

NUMBERS = ("dense_score", "fixed_score", "teacher_logit", "teacher_sigmoid", "teacher_calibrated", "dense_rank")


def numbers_sql() -> str:
    """Numbers queries in the order of :func:`service_sql`."""
    return "SELECT query_id, row_number() OVER (ORDER BY query_id) - 1 AS query_no FROM (SELECT DISTINCT query_id FROM anchors)"


def service_sql(settings: MeasureSettings) -> str:
    """One row a query, by query_id: rows, whether they all have their negatives, whether one has any, whether it is judged."""
    cases = " ".join(f"WHEN {quote_literal(stage)} THEN {count}" for stage, count in settings.stage_negatives.items())
    wanted = f"CASE a.stage {cases} ELSE {settings.num_negatives} END" if cases else str(settings.num_negatives)
    return f"""
WITH filled AS (SELECT stage, query_id, positive_id, count(*) AS n FROM drawn GROUP BY ALL),
for_all AS (SELECT * FROM filled WHERE positive_id IS NULL),
own AS (SELECT * FROM filled WHERE positive_id IS NOT NULL),
each AS (
  SELECT a.query_id, {wanted} AS wanted, coalesce(f.n, 0) + coalesce(o.n, 0) AS n FROM anchors a
  LEFT JOIN for_all f ON f.stage = a.stage AND f.query_id = a.query_id
  LEFT JOIN own o ON o.stage = a.stage AND o.query_id = a.query_id AND o.positive_id = a.positive_id
)
SELECT count(*) AS rows, bool_and(n >= wanted)::INTEGER AS served, bool_or(n > 0)::INTEGER AS some,
  (query_id IN (SELECT query_id FROM judged))::INTEGER AS judged
FROM each GROUP BY query_id ORDER BY query_id"""


def pairs_sql(settings: MeasureSettings) -> str:
    """One row a drawn (query, document), by query_id, doc_id: scores, weight, softmax mass, backfill, relevant.

    The mass of a pair is that of all rows it stands in: p = exp(s/τ) / (exp(s⁺/τ) + Σ exp(s_j/τ)) over the row's negatives, with s⁺ of the
    row's own positive and s the dense score. All exponents are taken relative to the row's largest.
    """
    negative = f"label <= {settings.relevant_label!r}::DOUBLE"
    tau = f"{settings.temperature!r}::DOUBLE"
    backfill = ", ".join(quote_literal(name) for name in settings.backfill) or "NULL"
    numbers = ", ".join(f"n.{name}::DOUBLE AS {name}" for name in NUMBERS)
    row = "PARTITION BY stage, query_id, positive_id"
    return f"""
WITH wanted AS (SELECT query_id, doc_id FROM drawn UNION SELECT query_id, positive_id FROM anchors),
needed AS MATERIALIZED (SELECT * FROM scored SEMI JOIN wanted USING (query_id, doc_id)),
entries AS (
  SELECT a.stage, a.query_id, a.positive_id, d.doc_id, n.dense_score::DOUBLE AS s, p.dense_score::DOUBLE AS own
  FROM drawn d JOIN anchors a ON a.stage = d.stage AND a.query_id = d.query_id AND (d.positive_id IS NULL OR d.positive_id = a.positive_id)
  LEFT JOIN needed n ON n.query_id = d.query_id AND n.doc_id = d.doc_id
  LEFT JOIN needed p ON p.query_id = a.query_id AND p.doc_id = a.positive_id
  WHERE {negative}
),
shifted AS (SELECT *, greatest(own, max(s) OVER ({row})) AS top FROM entries),
masses AS (
  SELECT stage, query_id, positive_id, doc_id, exp((s - top) / {tau}) / (coalesce(exp((own - top) / {tau}), 0)
    + sum(exp((s - top) / {tau})) OVER ({row} ORDER BY doc_id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)) AS p
  FROM shifted
),
mass AS (SELECT query_id, doc_id, sum(p ORDER BY stage, positive_id) AS mass FROM masses GROUP BY ALL),
pairs AS (
  SELECT query_id, doc_id, bool_or({negative}) AS negative,
    coalesce(sum(weight ORDER BY stage, positive_id) FILTER ({negative}), 0) AS weight,
    coalesce(bool_and(coalesce(draw IN ({backfill}), false)) FILTER ({negative}), false) AS backfill
  FROM drawn GROUP BY ALL
)
SELECT q.query_no, p.negative::INTEGER AS negative, p.weight, p.backfill::INTEGER AS backfill, (r.doc_id IS NOT NULL)::INTEGER AS relevant,
  m.mass, {numbers}
FROM pairs p JOIN service q USING (query_id)
LEFT JOIN mass m ON m.query_id = p.query_id AND m.doc_id = p.doc_id
LEFT JOIN needed n ON n.query_id = p.query_id AND n.doc_id = p.doc_id
LEFT JOIN relevant r ON r.query_id = p.query_id AND r.doc_id = p.doc_id
ORDER BY p.query_id, p.doc_id"""
