"""Pseudo-positives that become labels: only where independent signals agree, a few a query, never for queries that measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from tasks.review.settings import PromotionSettings
from tasks.schema import PROMOTIONS
from tasks.sql import run

CANDIDATES = pa.schema(
    [
        ("query_id", pa.string()),
        ("doc_id", pa.string()),
        ("signals", pa.list_(pa.string())),  # kinds of the independent signals that call the pair relevant
        ("against", pa.list_(pa.string())),  # those that call it not relevant; NULL: none
        ("labelled", pa.bool_()),  # it has a label, of any grade
        *(PROMOTIONS.field(name) for name in ("score", "teacher_probability", "teacher_margin", "label_evidence", "second_score")),
    ]
)
#: signals that rest on the same labels: they agree where these mislead both
FROM_LABELS = ("teacher", "label_evidence")
REASONS = ("few_signals", "same_labels", "labelled", "promoted", "protected", "contradicted", "over_cap")
_PAIRS = pa.schema([("query_id", pa.string()), ("doc_id", pa.string())])

_SQL = f"""
WITH judged AS (
  SELECT c.* REPLACE (list_sort(list_distinct(c.signals)) AS signals),
    CASE WHEN coalesce(len(list_distinct(c.signals)), 0) < $least THEN 'few_signals'
      WHEN $beyond AND len(list_filter(c.signals, lambda one: one NOT IN {FROM_LABELS})) = 0 THEN 'same_labels'
      WHEN c.labelled THEN 'labelled'
      WHEN e.query_id IS NOT NULL THEN 'promoted'
      WHEN coalesce(lower(s.split), 'train') <> 'train' THEN 'protected'
      WHEN len(c.against) > 0 THEN 'contradicted' END AS reason
  FROM candidates c
  LEFT JOIN earlier e ON e.query_id = c.query_id AND e.doc_id = c.doc_id
  LEFT JOIN splits s ON s.query_id = c.query_id),
before AS (SELECT query_id, count(*) AS already FROM earlier GROUP BY query_id),
ranked AS (
  SELECT j.*, CASE WHEN reason IS NULL THEN coalesce(already, 0) + row_number() OVER (
      PARTITION BY j.query_id, reason IS NULL ORDER BY len(signals) DESC, score DESC NULLS LAST, doc_id) END AS place
  FROM judged j LEFT JOIN before b ON b.query_id = j.query_id)
SELECT * EXCLUDE (place, reason), CASE WHEN place > $most THEN 'over_cap' ELSE reason END AS reason
FROM ranked ORDER BY query_id, place NULLS LAST, doc_id"""


@dataclass(frozen=True)
class Promotion:
    """Pseudo-positives as labels.

    Args:
        promoted: as :data:`tasks.schema.PROMOTIONS`, by query, best first; signals sorted.
        refused: query_id, doc_id, reason of the others.
        counts: refused pairs by reason (:data:`REASONS`): too few signals, or none that does not rest on the labels; of
            those with enough: there is a label already; it was promoted
            before; the query's split measures; a reviewer called it not relevant; over the cap.
    """

    promoted: pa.Table
    refused: pa.Table
    counts: dict[str, int]

    @classmethod
    def of(cls, pieces: Sequence[Promotion]) -> Promotion:
        """Promotions of several partitions of queries as one."""
        refused = pa.schema([*_PAIRS, ("reason", pa.string())]).empty_table()
        return cls(
            promoted=pa.concat_tables([PROMOTIONS.empty_table(), *(one.promoted for one in pieces)]),
            refused=pa.concat_tables([refused, *(one.refused for one in pieces)]),
            counts={reason: sum(one.counts[reason] for one in pieces) for reason in REASONS},
        )


def promote(
    candidates: pa.Table, splits: pa.Table, settings: PromotionSettings | None = None, earlier: pa.Table | None = None
) -> Promotion:
    """The pseudo-positives on which independent signals agree: most signals first, then the highest score.

    Unless set otherwise one of them is a review or a second teacher, which do not rest on the labels (:data:`FROM_LABELS`).

    A signal counts once, however often it is named. Only queries of split train, or of none, are given any.

    Args:
        candidates: as :data:`CANDIDATES`, each pair once.
        splits: query_id, split; a query without a row, or with NULL, is in none.
        settings: signals needed, cap a query.
        earlier: query_id, doc_id of promotions that stand: they count towards the cap.
    """
    settings = settings or PromotionSettings()
    tables = {
        "candidates": candidates.select(CANDIDATES.names).cast(CANDIDATES),
        "splits": splits.select(["query_id", "split"]),
        "earlier": _PAIRS.empty_table() if earlier is None else earlier.select(_PAIRS.names).cast(_PAIRS),
    }
    judged = run(_SQL, tables, {"least": settings.min_signals, "beyond": settings.beyond_labels, "most": settings.per_query})
    promoted = run("SELECT * FROM j WHERE reason IS NULL", {"j": judged})
    refused = run("SELECT query_id, doc_id, reason FROM j WHERE reason IS NOT NULL ORDER BY query_id, doc_id", {"j": judged})
    counts = {entry["values"]: entry["counts"] for entry in refused["reason"].value_counts().to_pylist()}
    return Promotion(
        promoted.select(PROMOTIONS.names).cast(PROMOTIONS), refused, {reason: int(counts.get(reason, 0)) for reason in REASONS}
    )
