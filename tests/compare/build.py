"""Small selections and scored tables, made from what a test names; all else is filled in."""

import pyarrow as pa

from tasks.compare.truth import TRUTH, Truth
from tasks.schema import DECISIONS, scored

SCORED = scored(["dense"])


def decisions(*rows):
    """Decisions from (stage, query, doc, decision[, more])."""
    full = []
    for stage, query, doc, decision, *more in rows:
        filled = {"selection_id": "s", "stage": stage, "query_id": query, "doc_id": doc, "decision": decision}
        if decision == "negative":
            filled |= {"draw": "draw", "label": 0.0, "weight": 1.0}
        full.append({**filled, **(more[0] if more else {})})
    return pa.Table.from_pylist(full, schema=DECISIONS)


def candidates(*rows):
    """Scored rows from (query, doc, dense_score[, more]); ranks count within a query."""
    full, rank = [], {}
    for query, doc, score, *more in rows:
        rank[query] = rank.get(query, 0) + 1
        filled = {"query_id": query, "doc_id": doc, "dense_score": score, "dense_rank": rank[query], "is_positive": False}
        full.append({**filled, **(more[0] if more else {})})
    return pa.Table.from_pylist(full, schema=SCORED)


def truth(relevant, judged, min_grade=1):
    """Exhaustive judgements from (query, doc) pairs."""
    rows = [{"query_id": query, "doc_id": doc, "relevance": 1} for query, doc in sorted(relevant)]
    return Truth(pa.Table.from_pylist(rows, schema=TRUTH), pa.table({"query_id": pa.array(sorted(judged), pa.string())}), min_grade)
