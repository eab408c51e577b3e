"""Training rows with their scores, and the pairs that are known or suspected to be relevant: tables in, tables out."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from tasks import sql

_LEXICAL = "bm25_score"


def lines(rows: pa.Table, scored: pa.Table, queries: pa.Table) -> pa.Table:
    """Lines of the rows whose query is among ``queries``, with the teacher's and the lexical score.

    Args:
        rows: :data:`tasks.schema.ROWS`.
        scored: query_id, doc_id, teacher_logit, and bm25_score if the round has it.
        queries: query_id of those that take part.

    Returns:
        stage, epoch, row_no, slot, query_id, positive_id, doc_id, label, weight, teacher, lexical, doc_partition, doc_row; in order.
    """
    lexical = f"s.{_LEXICAL}" if _LEXICAL in scored.column_names else "NULL::FLOAT"
    query = f"""
SELECT r.stage, r.epoch, r.row_no, r.slot, r.query_id, r.positive_id, r.doc_id, r.label, r.weight,
       s.teacher_logit AS teacher, {lexical} AS lexical, r.doc_partition, r.doc_row
FROM lines r SEMI JOIN queries q ON q.query_id = r.query_id
LEFT JOIN scored s ON s.query_id = r.query_id AND s.doc_id = r.doc_id
ORDER BY r.stage, r.epoch, r.row_no, r.slot"""
    return sql.run(query, {"lines": rows, "scored": scored, "queries": queries.select(["query_id"])})


def known_positives(scored: pa.Table, queries: pa.Table) -> pa.Table:
    """query_hash, doc_hash of the labelled positives."""
    query = """
SELECT DISTINCT s.query_hash, s.doc_hash FROM scored s SEMI JOIN queries q ON q.query_id = s.query_id
WHERE s.is_positive ORDER BY ALL"""
    return sql.run(query, {"scored": scored, "queries": queries.select(["query_id"])})


def suspected(decisions: pa.Table, scored: pa.Table, queries: pa.Table, reasons: Sequence[str]) -> pa.Table:
    """query_hash, doc_hash of pairs that were rejected as likely relevant, unless the same selection trains with them as negatives."""
    query = """
SELECT DISTINCT s.query_hash, s.doc_hash
FROM decisions d SEMI JOIN queries q ON q.query_id = d.query_id
JOIN scored s ON s.query_id = d.query_id AND s.doc_id = d.doc_id
WHERE d.decision = 'rejected' AND list_has_any(d.reasons, $reasons)
  AND NOT EXISTS (FROM decisions n WHERE n.query_id = d.query_id AND n.doc_id = d.doc_id AND n.decision = 'negative')
ORDER BY ALL"""
    tables = {"decisions": decisions, "scored": scored, "queries": queries.select(["query_id"])}
    return sql.run(query, tables, {"reasons": list(reasons)})


def teacher_scores(scored: pa.Table, queries: pa.Table) -> pa.Table:
    """query_hash, doc_hash, teacher_logit of all scored pairs."""
    query = """
SELECT s.query_hash, s.doc_hash, s.teacher_logit FROM scored s SEMI JOIN queries q ON q.query_id = s.query_id
WHERE s.teacher_logit IS NOT NULL ORDER BY ALL"""
    return sql.run(query, {"scored": scored, "queries": queries.select(["query_id"])})
