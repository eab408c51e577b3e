"""Which negatives a selection trains on: decided, and standing in a training row."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tasks.sql import run

_DECIDED = """
SELECT DISTINCT stage, query_id, doc_id AS positive_id FROM selection WHERE decision IN ('positive', 'pseudo_positive') ORDER BY ALL"""
_LAID_OUT = "SELECT DISTINCT stage, query_id, positive_id FROM rows WHERE slot = 0 ORDER BY ALL"
_DRAWN = """
SELECT d.stage, d.query_id, d.doc_id, d.positive_id, d.draw, coalesce(d.weight, 1)::DOUBLE AS weight, coalesce(d.label, 0)::DOUBLE AS label
FROM selection d SEMI JOIN anchors a
  ON a.stage = d.stage AND a.query_id = d.query_id AND (d.positive_id IS NULL OR a.positive_id = d.positive_id)
WHERE d.decision = 'negative' ORDER BY ALL"""

_USED = ("negative", "positive", "pseudo_positive")

DECISION_COLUMNS = ("stage", "query_id", "doc_id", "positive_id", "decision", "draw", "label", "weight")


@dataclass(frozen=True)
class Training:
    """What a selection trains on.

    Args:
        anchors: (stage, query_id, positive_id), one a training row.
        drawn: (stage, query_id, doc_id, positive_id, draw, weight, label), one a decision; positive_id is NULL where the document
            stands in the rows of all the query's positives.
    """

    anchors: pa.Table
    drawn: pa.Table


def training(selection: pa.Table, rows: pa.Table | None = None) -> Training:
    """Anchors and drawn documents of a selection; documents of queries without a positive stand in no row and are left out.

    Args:
        selection: decisions of the whole round, at least :data:`DECISION_COLUMNS`.
        rows: the training rows (stage, query_id, positive_id, slot), for a recipe that limits them; without them each positive and
            pseudo-positive has a row a stage.
    """
    table = selection.select(DECISION_COLUMNS)
    table = table.filter(pc.is_in(table["decision"], value_set=pa.array(_USED)))
    anchors = run(_DECIDED, {"selection": table}) if rows is None else run(_LAID_OUT, {"rows": rows})
    return Training(anchors, run(_DRAWN, {"selection": table, "anchors": anchors}))
