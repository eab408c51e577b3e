"""A selection's measured rates in a reader's words: what each estimator says, with its interval, and which labels look wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flows.results import MineResult
from tasks.calibration import ON_LABELS, ON_REVIEW

PLAIN = "top"

#: what is shown of a selection, in this order
ESTIMATORS = {
    "review": "false negatives, by review",
    "judged": "false negatives, judged (exact)",
    "planted": "false negatives, by planted positives",
    "calibrated_teacher": f"false negatives, by the teacher ({ON_LABELS})",
    "planted_survival_weighted": "planted positives that it would emit",
    "planted_survival": "planted positives that it would emit",
    "in_batch_pairs": "in-batch, judged: other rows' positives that are relevant",
    "in_batch_rows": "in-batch, judged: rows with at least one",
    "in_batch_pairs_estimated": "in-batch, estimated by similarity: other rows' positives that are relevant",
    "in_batch_rows_estimated": "in-batch, estimated by similarity: rows with at least one",
    "in_batch_pairs_by_labels": "in-batch, by labels (as if drawn at random): other rows' positives that are relevant",
    "in_batch_rows_by_labels": "in-batch, by labels (as if drawn at random): rows with at least one",
}


def has_plain(result: MineResult) -> bool:
    """Whether the round has plain top-K beside another published recipe: then both are shown side by side."""
    return result.selection.recipe != PLAIN and any(one.recipe == PLAIN for one in result.selections)


def shown(measures: Mapping[str, Any]) -> dict[str, str]:
    """The estimators that a selection has, each in words; survival once, weighted if it can be."""
    estimates = measures.get("estimates", {})
    names = [name for name in ESTIMATORS if name in estimates]
    if "planted_survival_weighted" in names:
        names.remove("planted_survival")
    return {name: in_words(name, bool(measures.get("calibration"))) for name in names}


def in_words(name: str, reviewed: bool) -> str:
    """One estimator in words.

    Args:
        name: of :data:`ESTIMATORS`, or another one.
        reviewed: whether a review calibrates the teacher; by labels alone its mean is no count, and says so.

    >>> in_words("calibrated_teacher", reviewed=True)
    'false negatives, by the teacher (calibrated on the review)'
    """
    words = ESTIMATORS.get(name, name.replace("_", " "))
    return words.replace(ON_LABELS, ON_REVIEW) if reviewed else words


def rate(measures: Mapping[str, Any], name: str) -> str:
    """One estimate with its interval, as ``12.5 % (9.0 – 17.1; 2,140 pairs)``; of the teacher's, what share has no score."""
    value, low, high, pairs, _ = measures["estimates"][name]
    negatives = measures.get("negatives") or 0
    without = 1 - pairs / negatives if name == "calibrated_teacher" and negatives > pairs else 0.0
    missing = f"; without {100 * without:.1f} %, which have no score" if without else ""
    return f"{100 * value:.1f} % ({100 * low:.1f} – {100 * high:.1f}; {pairs:,} pairs{missing})"


def teacher_warnings(
    facts: Mapping[str, Any], floor: float, calibration: Mapping[str, Any] | None, by_review: str | None = None
) -> Iterator[str]:
    """One warning where the teacher cannot tell relevant from not.

    Args:
        facts: of the teachers that the run trained; ``auc_after`` on held-out queries.
        floor: the AUC under which a teacher cannot tell.
        calibration: meta of ``calibrate``, on labels; none: there is none.
        by_review: of :func:`flows.stored.review_verdict`; it knows better than labels.
    """
    auc = facts.get("auc_after")
    if by_review is not None:
        if by_review == "cannot tell":
            yield "by the review the teacher cannot tell relevant from not: do not trust its scores"
    elif auc is not None and auc < floor:
        yield f"the teacher hardly tells relevant from not (AUC {auc:.2f} on held-out queries): do not trust its scores; train it longer"
    elif calibration is not None and calibration["verdict"] == "cannot tell":
        told = calibration["auc"]
        yield f"the teacher cannot tell labelled documents from other candidates (AUC {told:.2f}): do not trust its scores"


def zero_notes(measures: Mapping[str, Any]) -> Iterator[str]:
    """One note where explicit zeros look relevant: how many, and the first few."""
    found = measures.get("suspect_zeros") or 0
    if found:
        listed = [f"{query} {document} ({_placed(rank, why)})" for query, document, rank, why in measures.get("first_zeros", ())]
        more = f", … and {found - len(listed):,} more" if found > len(listed) else ""
        total = measures.get("zeros", found)
        yield f"{found:,} of {total:,} explicit zeros look relevant (query, document): {', '.join(listed)}{more}"


def _placed(rank: int | None, why: str) -> str:
    return why if rank is None else f"rank {rank}" + (", above positives" if "above" in why else "")
