"""A selection's measured rates in a reader's words: what each estimator says, with its interval, and which labels look wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flows.results import MineResult

PLAIN = "top"

#: what is shown of a selection, in this order
ESTIMATORS = {
    "review": "false negatives, by review",
    "judged": "false negatives, judged (exact)",
    "planted": "false negatives, by planted positives",
    "calibrated_teacher": "false negatives, by the teacher (fitted on labels, which are incomplete: no count)",
    "planted_survival_weighted": "planted positives that it would emit",
    "planted_survival": "planted positives that it would emit",
    "in_batch_pairs": "in-batch, judged: other rows' positives that are relevant",
    "in_batch_rows": "in-batch, judged: rows with at least one",
    "in_batch_pairs_estimated": "in-batch, estimated by similarity: other rows' positives that are relevant",
    "in_batch_rows_estimated": "in-batch, estimated by similarity: rows with at least one",
    "in_batch_pairs_at_most": "in-batch, at most: other rows' positives that are relevant",
    "in_batch_rows_at_most": "in-batch, at most: rows with at least one",
}
_BY_REVIEW = "false negatives, by the teacher (calibrated on the review)"


def has_plain(result: MineResult) -> bool:
    """Whether the round has plain top-K beside another published recipe: then both are shown side by side."""
    return result.selection.recipe != PLAIN and any(one.recipe == PLAIN for one in result.selections)


def shown(measures: Mapping[str, Any]) -> dict[str, str]:
    """The estimators that a selection has, each in words; survival once, weighted if it can be."""
    estimates = measures.get("estimates", {})
    names = [name for name in ESTIMATORS if name in estimates]
    if "planted_survival_weighted" in names:
        names.remove("planted_survival")
    words = {name: ESTIMATORS[name] for name in names}
    if measures.get("calibration") and "calibrated_teacher" in words:
        words["calibrated_teacher"] = _BY_REVIEW
    return words


def rate(measures: Mapping[str, Any], name: str) -> str:
    """One estimate with its interval, as ``12.5 % (9.0 – 17.1; 2,140 pairs)``."""
    value, low, high, pairs, _ = measures["estimates"][name]
    return f"{100 * value:.1f} % ({100 * low:.1f} – {100 * high:.1f}; {pairs:,} pairs)"


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
