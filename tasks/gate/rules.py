"""What a round must satisfy, as SQL: one query a kind of violation.

Each gives ``query_id, doc_id, row_no, detail`` of the places where it is violated. They read ``training`` (rows.parquet),
``decisions``, ``scored``, ``queries``, ``documents`` (``doc_partition``, ``doc_row``, ``doc_id``, ``input_hash``, ``norm_hash`` of the
addresses in use), and parameters by name.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasks.sql import quote_identifier, quote_literal

_NEGATIVES = "(SELECT DISTINCT stage, query_id, doc_id, doc_partition, doc_row, row_no FROM training WHERE slot > 0)"
_POSITIVES = """(SELECT query_id, doc_id, doc_partition, doc_row FROM scored WHERE is_positive OR planted
  UNION SELECT query_id, doc_id, doc_partition, doc_row FROM training WHERE slot = 0)"""

POSITIVE = f"""
SELECT n.query_id, n.doc_id, n.row_no, 'the document is a positive of the query' AS detail
FROM {_NEGATIVES} n SEMI JOIN {_POSITIVES} p ON p.query_id = n.query_id AND p.doc_id = n.doc_id"""

POSITIVE_COPY = f"""
SELECT n.query_id, n.doc_id, n.row_no,
  CASE WHEN bool_or(nd.input_hash = pd.input_hash) THEN 'exact' ELSE 'normalised' END || ' copy of ' || min(p.doc_id) AS detail
FROM {_NEGATIVES} n JOIN documents nd USING (doc_partition, doc_row)
JOIN {_POSITIVES} p ON p.query_id = n.query_id AND p.doc_id <> n.doc_id
JOIN documents pd ON pd.doc_partition = p.doc_partition AND pd.doc_row = p.doc_row
WHERE nd.input_hash = pd.input_hash OR nd.norm_hash = pd.norm_hash
GROUP BY ALL"""

QUERY_COPY = f"""
SELECT n.query_id, n.doc_id, n.row_no, 'the document is the query itself' AS detail
FROM {_NEGATIVES} n JOIN documents d USING (doc_partition, doc_row) JOIN queries q ON q.query_id = n.query_id
WHERE d.input_hash = q.input_hash OR d.norm_hash = q.norm_hash"""

DUPLICATE_NEGATIVE = """
SELECT query_id, doc_id, row_no, count(*) || ' times in one row' AS detail
FROM training WHERE slot > 0 GROUP BY stage, epoch, row_no, query_id, doc_id HAVING count(*) > 1"""

UNRESOLVED = """
SELECT t.query_id, t.doc_id, t.row_no,
  CASE WHEN s.doc_id IS NULL THEN 'no candidate' WHEN q.query_id IS NULL THEN 'no such query'
    ELSE 'no such document at its address' END AS detail
FROM training t
LEFT JOIN (SELECT DISTINCT query_id, doc_id FROM scored) s ON s.query_id = t.query_id AND s.doc_id = t.doc_id
LEFT JOIN queries q ON q.query_id = t.query_id AND q.row = t.query_row
LEFT JOIN documents d ON d.doc_partition = t.doc_partition AND d.doc_row = t.doc_row AND d.doc_id = t.doc_id
WHERE s.doc_id IS NULL OR q.query_id IS NULL OR d.doc_id IS NULL"""

SLOTS = """
SELECT query_id, doc_id, row_no, detail FROM (
  SELECT query_id, positive_id AS doc_id, row_no, 'slots ' || list(slot ORDER BY slot)::VARCHAR || ', not 0 to ' || (count(*) - 1) AS detail
  FROM training GROUP BY stage, epoch, row_no, query_id, positive_id
  HAVING list(slot ORDER BY slot) <> list_transform(range(count(*)), lambda x: x::INTEGER)
  UNION ALL
  SELECT query_id, doc_id, row_no, 'slot 0 is not the row''s positive' FROM training WHERE slot = 0 AND doc_id <> positive_id
  UNION ALL
  SELECT min(query_id), min(positive_id), row_no, 'one row_no for several (query, positive)' FROM training
  GROUP BY stage, epoch, row_no HAVING count(DISTINCT (query_id, positive_id)) > 1)"""

DECISIONS = """
SELECT query_id, doc_id, NULL::BIGINT AS row_no, detail FROM (
  SELECT query_id, doc_id, count(*) || ' decisions' AS detail FROM decisions
  GROUP BY stage, query_id, doc_id, positive_id HAVING count(*) > 1
  UNION ALL
  SELECT s.query_id, s.doc_id, 'no decision' FROM scored s ANTI JOIN decisions d ON d.query_id = s.query_id AND d.doc_id = s.doc_id
  UNION ALL
  SELECT d.query_id, d.doc_id, 'a decision without a candidate' FROM decisions d
  ANTI JOIN scored s ON s.query_id = d.query_id AND s.doc_id = d.doc_id
  UNION ALL
  SELECT query_id, doc_id, 'twice a candidate' FROM scored GROUP BY query_id, doc_id HAVING count(*) > 1)"""

UNDECIDED = f"""
SELECT n.query_id, n.doc_id, n.row_no, 'in a training row without the decision negative' AS detail
FROM {_NEGATIVES} n ANTI JOIN (SELECT * FROM decisions WHERE decision = 'negative') d
ON d.stage = n.stage AND d.query_id = n.query_id AND d.doc_id = n.doc_id"""


def violations(sources: Sequence[str], scores: Sequence[str], duplicates: bool) -> dict[str, str]:
    """The queries by kind of violation.

    Args:
        sources: those with ``<source>_rank`` and ``<source>_score`` columns.
        scores: all score columns of the scored table.
        duplicates: whether the recipe drops copies of positives and of the query, so that none may be left.
    """
    kinds = {
        "negative_is_positive": POSITIVE,
        "non_finite_score": _non_finite(scores),
        "duplicate_negative": DUPLICATE_NEGATIVE,
        "unresolved_id": UNRESOLVED,
        "score_order": _score_order(sources),
        "slots": SLOTS,
        "decision_count": DECISIONS,
        "undecided_negative": UNDECIDED,
    }
    if duplicates:
        kinds |= {"copy_of_positive": POSITIVE_COPY, "copy_of_query": QUERY_COPY}
    return kinds


def all_violations(kinds: dict[str, str]) -> str:
    """One query for all kinds: ``kind, total`` and up to ``$examples`` places each."""
    union = " UNION ALL ".join(
        f"SELECT {quote_literal(kind)} AS kind, query_id, doc_id, row_no, detail FROM ({query})" for kind, query in kinds.items()
    )
    return f"""
SELECT kind, query_id, doc_id, row_no, detail, total FROM (
  SELECT *, count(*) OVER (PARTITION BY kind) AS total,
    row_number() OVER (PARTITION BY kind ORDER BY query_id, doc_id, row_no, detail) AS place FROM ({union}))
WHERE place <= $examples ORDER BY kind, place"""


def _non_finite(scores: Sequence[str]) -> str:
    """NULL stands for "not retrieved" or "not scored" and is allowed, but dense_score is filled in every row."""
    cases = []
    for score in scores:
        name = quote_identifier(score)
        missing = f"{name} IS NULL OR " if score == "dense_score" else ""
        detail = f"{quote_literal(score)} || ' is ' || coalesce({name}::VARCHAR, 'missing')"
        cases.append(f"SELECT query_id, doc_id, NULL::BIGINT AS row_no, {detail} AS detail FROM scored WHERE {missing}NOT isfinite({name})")
    return " UNION ALL ".join(cases)


def _score_order(sources: Sequence[str]) -> str:
    """A source's better rank never has the lower score, beyond ``$tolerance``; no rank is given twice to a query."""
    cases = []
    for source in sources:
        rank, score = quote_identifier(f"{source}_rank"), quote_identifier(f"{source}_score")
        detail = f"{quote_literal(source)} || ' rank ' || rank || ': score ' || score || ' after ' || before"
        cases.append(f"""
SELECT query_id, doc_id, NULL::BIGINT AS row_no, {detail} AS detail
FROM (SELECT query_id, doc_id, {rank} AS rank, {score} AS score, lag({score}) OVER w AS before, lag({rank}) OVER w AS rank_before
  FROM scored WHERE {rank} IS NOT NULL WINDOW w AS (PARTITION BY query_id ORDER BY {rank}, doc_id))
WHERE rank = rank_before OR score > before + $tolerance * greatest(1.0, abs(before))""")
    return " UNION ALL ".join(cases)
