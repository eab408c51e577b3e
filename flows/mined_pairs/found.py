"""What a round decided for each query of a call, read back from its tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.mined_pairs.request import FILTERS, Request
from flows.stored import stored_stage
from tasks.audit.records import RoundRecord, SelectionRecord
from tasks.store.storage import Storage
from tasks.store.tables import read_parts

Scored = list[tuple[str, float]]


@dataclass
class Found:
    """Documents with their scores by query: the positives, and the negatives, hardest first.

    Args:
        positives: of each query, by id.
        negatives: likewise.
        skipped: candidates that a filter rejected, by its name; the first that applies counts.
        candidates: that were looked at.
    """

    positives: dict[str, dict[str, float]] = field(default_factory=dict)
    negatives: dict[str, Scored] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    candidates: int = 0


def found_in(storage: Storage, record: RoundRecord, selection: SelectionRecord, request: Request, score: str) -> Found:
    """Read a selection back.

    Args:
        storage: the root.
        record: the round.
        selection: of it.
        request: the call.
        score: the scored column that was compared.
    """
    columns = ["query_id", "doc_id", "is_positive", "dense_rank", score]
    scored = read_parts(storage, stored_stage(storage, record.roles["scored"]).parts, "scored.parquet", list(dict.fromkeys(columns)))
    found = Found(candidates=int(pc.sum(pc.less_equal(scored["dense_rank"], request.depth)).as_py() or 0))
    scores = dict(
        zip(zip(scored["query_id"].to_pylist(), scored["doc_id"].to_pylist(), strict=True), scored[score].to_pylist(), strict=True)
    )
    positives = scored.filter(scored["is_positive"])
    for query, document in zip(positives["query_id"].to_pylist(), positives["doc_id"].to_pylist(), strict=True):
        found.positives.setdefault(query, {})[document] = scores[query, document]
    decided = read_parts(
        storage, stored_stage(storage, selection.select).parts, "decisions.parquet", ["query_id", "doc_id", "decision", "reason", "slot"]
    )
    found.skipped.update(
        name for name in decided.filter(pc.equal(decided["decision"], "rejected"))["reason"].to_pylist() if name in FILTERS
    )
    if request.include_positives:
        found.negatives = ranked(scored, score, request)
    else:
        drawn = decided.filter(pc.equal(decided["decision"], "negative")).sort_by([("query_id", "ascending"), ("slot", "ascending")])
        for query, document in zip(drawn["query_id"].to_pylist(), drawn["doc_id"].to_pylist(), strict=True):
            found.negatives.setdefault(query, []).append((document, scores[query, document]))
    return found


def ranked(scored: pa.Table, score: str, request: Request) -> dict[str, Scored]:
    """A ranking with the positives in it, by the same filters: what ``include_positives`` asks for, and no gate lets through as negatives.

    Args:
        scored: query_id, doc_id, is_positive, dense_rank and the score.
        score: name of the compared column.
        request: the call; ``sampling_strategy`` does not apply.
    """
    frame = scored.to_pandas()
    weakest = frame[frame.is_positive].groupby("query_id")[score].min()
    pool = frame[(frame.dense_rank <= request.depth) & frame[score].notna()]
    value, least = pool[score].to_numpy(np.float32), pool.query_id.map(weakest).to_numpy(np.float32)
    kept = np.ones(len(pool), np.bool_)
    margins = {
        "absolute_margin": lambda limit: value + np.float32(limit) > least,
        "relative_margin": lambda limit: value > least - np.abs(least) * np.float32(limit),
        "max_score": lambda limit: value > np.float32(limit),
        "min_score": lambda limit: value < np.float32(limit),
    }
    for name, limit in request.filters.items():
        kept &= ~margins[name](limit)
    pool = pool[kept].sort_values(["query_id", score, "doc_id"], ascending=[True, False, True], kind="stable")
    stop = min(request.range_max, request.range_min + request.num_negatives)
    cut = pool.groupby("query_id", sort=False).nth(slice(request.range_min, stop))
    made: dict[str, Scored] = {}
    for query, document, number in zip(cut.query_id, cut.doc_id, cut[score], strict=True):
        made.setdefault(query, []).append((document, float(number)))
    return made
