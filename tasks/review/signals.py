"""What speaks for an unlabelled candidate: the teacher, the labels around it, reviewers, a second teacher."""

from __future__ import annotations

import pyarrow as pa

from tasks.review.promote import CANDIDATES
from tasks.review.settings import PromotionSettings
from tasks.schema import PROMOTED
from tasks.sql import run

#: the kinds; two of one kind are no two signals
TEACHER, EVIDENCE, REVIEW, SECOND = "teacher", "label_evidence", "review", "second_teacher"
JUDGE = "judge"  #: alone behind pairs that a judge relabelled
COLUMNS = (
    "query_id",
    "doc_id",
    "relevance",
    "is_positive",
    "planted",
    "copy_of",
    "norm_copy_of",
    "teacher_logit",
    "teacher_calibrated",
    "provenance",
)
SCORES = pa.schema([("query_id", pa.string()), ("doc_id", pa.string()), ("score", pa.float64())])
LABELS = pa.schema([("query_id", pa.string()), ("doc_id", pa.string()), ("label", pa.string())])

_SQL = f"""
WITH labelled AS (
  SELECT query_id, min(teacher_logit) AS weakest FROM scored
  WHERE is_positive AND provenance IS DISTINCT FROM '{PROMOTED}' GROUP BY query_id),
known AS (
  SELECT s.query_id, s.doc_id, s.relevance IS NOT NULL AS labelled, s.teacher_logit::DOUBLE AS teacher_logit,
    s.teacher_calibrated::DOUBLE AS teacher_probability, (s.teacher_logit - p.weakest)::DOUBLE AS teacher_margin,
    s.label_evidence::DOUBLE AS label_evidence, t.score AS second_score, r.label
  FROM scored s
  LEFT JOIN labelled p ON p.query_id = s.query_id
  LEFT JOIN second t ON t.query_id = s.query_id AND t.doc_id = s.doc_id
  LEFT JOIN labels r ON r.query_id = s.query_id AND r.doc_id = s.doc_id
  WHERE NOT coalesce(s.is_positive, false) AND NOT coalesce(s.planted, false) AND s.copy_of IS NULL AND s.norm_copy_of IS NULL),
told AS (
  SELECT *, list_filter([
      CASE WHEN label_evidence >= $evidence THEN '{EVIDENCE}' END,
      CASE WHEN label = 'relevant' THEN '{REVIEW}' END,
      CASE WHEN second_score >= $second THEN '{SECOND}' END,
      CASE WHEN CASE
          WHEN $by = 'none' THEN false
          WHEN $by = 'probability' OR ($by = 'auto' AND teacher_probability IS NOT NULL) THEN teacher_probability >= $probability
          ELSE teacher_margin >= $margin END THEN '{TEACHER}' END], lambda one: one IS NOT NULL) AS signals
  FROM known)
SELECT query_id, doc_id, signals, CASE WHEN label = 'not' THEN ['{REVIEW}'] END AS against, labelled,
  coalesce(teacher_logit, second_score, label_evidence) AS score, teacher_probability, teacher_margin, label_evidence, second_score
FROM told WHERE len(signals) > 0 ORDER BY query_id, doc_id"""


def signals(
    scored: pa.Table,
    settings: PromotionSettings,
    labels: pa.Table | None = None,
    second: pa.Table | None = None,
    can_tell: bool = True,
) -> pa.Table:
    """The candidates that something speaks for. Positives (planted ones too), their copies and those of the query are none.

    Args:
        scored: :data:`COLUMNS` and ``label_evidence``, each pair once; all candidates of each query. Positives that were promoted are no
            measure for others.
        settings: thresholds.
        labels: query_id, doc_id, label of reviewed pairs: relevant, not or unsure.
        second: query_id, doc_id, score by a second teacher, each pair once.
        can_tell: whether the teacher can tell relevant from not (the verdict of its calibration).

    Returns:
        :data:`tasks.review.promote.CANDIDATES`, by query_id and doc_id. The score is the teacher's logit; without one, the second teacher's
        score, else the evidence.
    """
    tables = {
        "scored": scored.select([*COLUMNS, "label_evidence"]),
        "labels": (LABELS.empty_table() if labels is None else labels).select(LABELS.names).cast(LABELS),
        "second": (SCORES.empty_table() if second is None else second).select(SCORES.names).cast(SCORES),
    }
    thresholds = {
        "by": settings.teacher if can_tell else "none",
        "probability": settings.teacher_probability,
        "margin": settings.teacher_margin,
        "evidence": settings.label_evidence,
        "second": settings.second_score,
    }
    return run(_SQL, tables, thresholds).select(CANDIDATES.names).cast(CANDIDATES)
