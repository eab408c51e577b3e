"""Judged sets: where the labels say which pairs are *not* relevant, the rate is counted, not estimated."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from tasks.schema import REVIEWED
from tasks.sql import run

Judgement = Literal["exhaustive", "trusted_zeros", "both"]


def judgements(negatives: pa.Table, qrels: pa.Table, judgement: Judgement, queries: pa.Table | None = None, min_grade: int = 1) -> pa.Table:
    """The judged ones of a recipe's negatives.

    Args:
        negatives: query_id, doc_id, optional group: what the recipe emitted, each pair once.
        qrels: query_id, doc_id, relevance.
        judgement: ``exhaustive``: a pair of a judged query that is not listed is not relevant; ``trusted_zeros``: one that is listed with
            a grade of 0 is not; ``both``. What neither says is unknown and does not count.
        queries: query_id of the judged queries; none: those in the qrels.
        min_grade: the relevance from which a document is relevant.

    Returns:
        query_id, relevant and, where given, group, by query_id and doc_id.
    """
    return _counted(_emitted(negatives, qrels, queries, min_grade), judgement)


def _emitted(negatives: pa.Table, qrels: pa.Table, queries: pa.Table | None, min_grade: int) -> pa.Table:
    """The negatives of judged queries: query_id, relevance (NULL: not listed), relevant."""
    group = ', negatives."group"' if "group" in negatives.column_names else ""
    asked = "SELECT query_id FROM queries" if queries is not None else "SELECT query_id FROM qrels"
    return run(
        f"""WITH grades AS (SELECT query_id, doc_id, max(relevance) AS relevance FROM qrels GROUP BY ALL),
                 asked AS (SELECT DISTINCT query_id FROM ({asked}))
            SELECT negatives.query_id{group}, relevance, coalesce(relevance >= $grade, false) AS relevant
            FROM negatives SEMI JOIN asked USING (query_id) LEFT JOIN grades USING (query_id, doc_id)
            ORDER BY negatives.query_id, negatives.doc_id""",
        {"negatives": negatives, "qrels": qrels, **({"queries": queries} if queries is not None else {})},
        {"grade": min_grade},
    )


def _counted(found: pa.Table, judgement: Judgement) -> pa.Table:
    grade = found["relevance"]
    told = pc.greater(grade, 0) if judgement == "exhaustive" else pc.is_valid(grade)
    listed = pc.or_(found["relevant"], pc.fill_null(told, False))
    return found.filter(listed if judgement == "trusted_zeros" else pc.or_(listed, pc.is_null(grade)))


def unknown_zeros(qrels: pa.Table, judgement: Judgement) -> pa.Table:
    """query_id, doc_id of the explicit zeros that say nothing, as they are not trusted."""
    if judgement != "exhaustive":
        return qrels.select(["query_id", "doc_id"]).slice(0, 0)
    return qrels.filter(pc.fill_null(pc.less_equal(qrels["relevance"], 0), False)).select(["query_id", "doc_id"])


def unreviewed(scored: pa.Table) -> pa.Table:
    """Without what a reviewer called not relevant: such a zero is trusted, however high it ranks."""
    reviewed = pc.fill_null(pc.equal(scored["provenance"], REVIEWED), False)
    return scored.filter(pc.or_(pc.invert(reviewed), pc.fill_null(scored["is_positive"], False)))


def suspect_zeros(scored: pa.Table, max_rank: int = 3) -> pa.Table:
    """Explicit zeros that look relevant: among the best ranks, or with a score above that of every positive of their query.

    Args:
        scored: query_id, doc_id, relevance, is_positive, dense_rank, dense_score.
        max_rank: the worst rank that is suspect.

    Returns:
        query_id, doc_id, dense_rank, dense_score, best_positive (dense score, NULL without a positive) and why (``rank``, ``above
        positives`` or ``rank, above positives``), the highest score first.
    """
    return run(
        """WITH known AS (
             SELECT query_id, doc_id, dense_rank, dense_score, relevance <= 0 AND NOT coalesce(is_positive, false) AS zero,
                    max(dense_score) FILTER (is_positive) OVER (PARTITION BY query_id) AS best_positive
             FROM scored),
           marked AS (
             SELECT *, coalesce(dense_rank <= $rank, false) AS high, coalesce(dense_score > best_positive, false) AS above FROM known WHERE
             zero)
           SELECT query_id, doc_id, dense_rank, dense_score, best_positive,
                  CASE WHEN high AND above THEN 'rank, above positives' WHEN high THEN 'rank' ELSE 'above positives' END AS why
           FROM marked WHERE high OR above ORDER BY dense_score DESC NULLS LAST, query_id, doc_id""",
        {"scored": scored.select(["query_id", "doc_id", "relevance", "is_positive", "dense_rank", "dense_score"])},
        {"rank": max_rank},
    )


def suspect_share(scored: pa.Table, max_rank: int = 3) -> tuple[int, int]:
    """How many explicit zeros are suspect, and how many there are."""
    zeros = run("SELECT count(*) AS n FROM scored WHERE relevance <= 0", {"scored": scored.select(["relevance"])})["n"][0].as_py()
    return suspect_zeros(scored, max_rank).num_rows, zeros
