"""How far cheap judge, strong judge, teacher and reviewers agree on the pairs that two of them spoke about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tasks.audit.judged import JudgeAgreement
from tasks.review.labels import Answer, agreement
from tasks.sql import run


def judge_agreement(judged: pa.Table, scored: Sequence[pa.Table], reviewed: pa.Table, threshold: float) -> tuple[JudgeAgreement, ...]:
    """Agreement of each two, by name; teacher and reviewers with judges alone, of what was judged.

    Args:
        judged: :data:`tasks.schema.JUDGEMENTS`; a judge calls relevant what is at or over the threshold.
        scored: query_id, doc_id, teacher_calibrated, teacher_sigmoid: parts of the scored table. The teacher calls relevant what is at or
            over 0.5, calibrated where there is a calibration.
        reviewed: query_id, doc_id, relevant (bool).
        threshold: of the judges.
    """
    voices = [("cheap", judged, "cheap", threshold), ("strong", judged, "strong", threshold)]
    for part in scored if judged.num_rows else ():
        asked = run("SELECT s.* FROM s SEMI JOIN j USING (query_id, doc_id)", {"s": part, "j": judged.select(["query_id", "doc_id"])})
        name = "teacher_calibrated" if asked["teacher_calibrated"].null_count < asked.num_rows else "teacher_sigmoid"
        voices.append(("teacher", asked, name, 0.5))
    sure = reviewed.append_column("value", reviewed["relevant"].cast(pa.int8()).cast(pa.float32()))
    voices.append(("review", sure, "value", 0.5))
    found = (
        JudgeAgreement(first=a.first, second=a.second, pairs=a.pairs, share=a.share, kappa=a.kappa)
        for a in agreement([answer for voice in voices for answer in _said(*voice)])
    )
    return tuple(one for one in found if {one.first, one.second} != {"teacher", "review"})


def _said(voice: str, table: pa.Table, column: str, threshold: float) -> list[Answer]:
    """A voice's verdicts as answers of a reviewer."""
    values = np.asarray(table[column].cast(pa.float32()).to_numpy(), dtype=np.float32)
    relevant = (values >= np.float32(threshold)).tolist()
    pairs = zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), relevant, np.isfinite(values).tolist(), strict=True)
    return [
        Answer(pair=f"{query}\x1f{document}", reviewer=voice, label="relevant" if yes else "not")
        for query, document, yes, known in pairs
        if known
    ]
