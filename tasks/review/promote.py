"""Pseudo-positives that become labels: only where independent signals agree, a few a query, never for queries that measure."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from tasks.review.settings import PromotionSettings
from tasks.sql import run

CANDIDATES = pa.schema(
    [
        ("query_id", pa.string()),
        ("doc_id", pa.string()),
        ("signals", pa.list_(pa.string())),  # names of the independent signals that call the pair relevant
        ("against", pa.list_(pa.string())),  # names of those that call it not relevant; NULL: none
        ("score", pa.float64()),  # higher is better; NULL last
    ]
)
PROMOTED = pa.schema([("query_id", pa.string()), ("doc_id", pa.string()), ("signals", pa.list_(pa.string())), ("score", pa.float64())])
_NONE = pa.schema([("query_id", pa.string()), ("provenance", pa.string())]).empty_table()
REASONS = ("labelled", "protected", "contradicted", "few_signals", "over_cap")

_SQL = """
WITH judged AS (
  SELECT c.query_id, c.doc_id, list_sort(list_distinct(c.signals)) AS signals, c.score,
    CASE WHEN q.query_id IS NOT NULL THEN 'labelled'
      WHEN lower(s.split) IN (SELECT lower(split) FROM protected) THEN 'protected'
      WHEN len(c.against) > 0 THEN 'contradicted'
      WHEN coalesce(len(list_distinct(c.signals)), 0) < $least THEN 'few_signals' END AS reason
  FROM candidates c
  LEFT JOIN qrels q ON q.query_id = c.query_id AND q.doc_id = c.doc_id
  LEFT JOIN splits s ON s.query_id = c.query_id),
before AS (SELECT query_id, count(*) AS already FROM earlier WHERE provenance = 'promoted' GROUP BY query_id),
ranked AS (
  SELECT j.*, CASE WHEN reason IS NULL THEN coalesce(already, 0) + row_number() OVER (
      PARTITION BY j.query_id, reason IS NULL ORDER BY len(signals) DESC, score DESC NULLS LAST, doc_id) END AS place
  FROM judged j LEFT JOIN before b ON b.query_id = j.query_id)
SELECT query_id, doc_id, signals, score, CASE WHEN place > $most THEN 'over_cap' ELSE reason END AS reason
FROM ranked ORDER BY query_id, place NULLS LAST, doc_id"""


@dataclass(frozen=True)
class Promotion:
    """Pseudo-positives as labels.

    Args:
        promoted: as :data:`PROMOTED`, by query, best first; signals sorted.
        refused: query_id, doc_id, reason of the others.
        counts: refused pairs by reason (:data:`REASONS`): there is a label already; the query's split measures; a signal says not
            relevant; too few signals; over the cap.
    """

    promoted: pa.Table
    refused: pa.Table
    counts: dict[str, int]


def promote(
    candidates: pa.Table,
    qrels: pa.Table,
    splits: pa.Table,
    settings: PromotionSettings | None = None,
    provenance: pa.Table | None = None,
) -> Promotion:
    """The pseudo-positives on which independent signals agree.

    A signal counts once, however often it is named. Whether two signals are independent is for the caller to know: the teacher that
    proposed a pair and one trained on its scores are one signal.

    Args:
        candidates: as :data:`CANDIDATES`, each pair once; ``against`` and ``score`` may be missing.
        qrels: query_id, doc_id of all pairs that have a label of any grade.
        splits: query_id, split; a query without a row, or with NULL, is in none.
        settings: signals needed, cap a query, protected splits.
        provenance: of ``qrels`` (query_id, provenance): earlier promotions count towards the cap.
    """
    settings = settings or PromotionSettings()
    for name in ("against", "score"):
        if name not in candidates.column_names:
            candidates = candidates.append_column(name, pa.nulls(candidates.num_rows, CANDIDATES.field(name).type))
    tables = {
        "candidates": candidates.select(CANDIDATES.names).cast(CANDIDATES),
        "qrels": qrels.select(["query_id", "doc_id"]),
        "splits": splits.select(["query_id", "split"]),
        "earlier": _NONE if provenance is None else provenance.select(["query_id", "provenance"]),
        "protected": pa.table({"split": pa.array(settings.protected_splits, pa.string())}),
    }
    judged = run(_SQL, tables, {"least": settings.min_signals, "most": settings.per_query})
    promoted = run("SELECT * EXCLUDE (reason) FROM j WHERE reason IS NULL", {"j": judged})
    refused = run("SELECT query_id, doc_id, reason FROM j WHERE reason IS NOT NULL ORDER BY query_id, doc_id", {"j": judged})
    counts = {entry["values"]: entry["counts"] for entry in refused["reason"].value_counts().to_pylist()}
    return Promotion(promoted.cast(PROMOTED), refused, {reason: int(counts.get(reason, 0)) for reason in REASONS})
