"""A teacher's scores beside candidates: which pairs it is asked for, and the columns that its logits become."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.calibration import Calibration, apply
from tasks.groups import Bools, floats
from tasks.store.tables import whole_numbers


def to_score(table: pa.Table, depth: int, sources: Sequence[str]) -> Bools:
    """The candidates that the teacher scores: every labelled positive, and whatever a source ranks within the depth.

    Args:
        table: candidates with ``is_positive`` and ``<source>_rank``; a NULL rank is no rank.
        depth: worst rank that is scored.
        sources: whose ranks count.

    Returns:
        bool, shape (rows,).
    """
    wanted = whole_numbers(table["is_positive"]) > 0
    for source in sources:
        ranks = whole_numbers(table[f"{source}_rank"])
        wanted = wanted | ((ranks > 0) & (ranks <= depth))
    return wanted


def pair_keys(table: pa.Table) -> pa.ChunkedArray:
    """One string for each pair of query_hash and doc_hash: equal where the teacher's input is."""
    joined = pc.binary_join_element_wise(table["query_hash"], table["doc_hash"], " ")
    return joined if isinstance(joined, pa.ChunkedArray) else pa.chunked_array([joined])


def teacher_columns(
    table: pa.Table, pairs: pa.Table, activation: str, calibration: Calibration | None = None
) -> dict[str, pa.Array | pa.ChunkedArray]:
    """Logit, activated and calibrated score of each candidate, by the pair of input hashes; NULL where it was not scored.

    Args:
        table: query_hash and doc_hash of n candidates.
        pairs: :data:`tasks.schema.PAIRS`, of an ensemble with ``disagreement``.
        activation: how a logit becomes ``teacher_sigmoid``: ``sigmoid``, or ``identity`` for a teacher that gives probabilities.
        calibration: for ``teacher_calibrated``; without one it is NULL.
    """
    place = pc.index_in(pair_keys(table), value_set=pair_keys(pairs).combine_chunks())
    logit = pairs["logit"].take(place)
    values = floats(logit).astype(np.float64)
    with np.errstate(over="ignore"):
        sigmoid = (values if activation == "identity" else 1.0 / (1.0 + np.exp(-values))).astype(np.float32)
    calibrated: pa.Array = pa.nulls(table.num_rows, pa.float32())
    if calibration is not None:
        calibrated = pa.array(apply(calibration, values).astype(np.float32), mask=np.isnan(values))
    found = {"teacher_logit": logit, "teacher_sigmoid": pa.array(sigmoid, mask=np.isnan(values)), "teacher_calibrated": calibrated}
    return found | ({"teacher_disagreement": pairs["disagreement"].take(place)} if "disagreement" in pairs.column_names else {})
