"""The report's section on staleness: this round's negatives under later checkpoints, or earlier ones under this round's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flows.staleness import staleness_rows
from tasks.audit.records import RoundRecord, SelectionRecord, list_rounds
from tasks.report.data import Staleness, Value
from tasks.staleness.facts import facts_of, lines
from tasks.staleness.plot import curves_of
from tasks.store.storage import Storage

_SHOWN = {
    "loss_share": ("loss share", True),
    "rank_percentile": ("rank percentile", False),
    "easy_share": ("easy now", True),
    "legacy_easy_share": ("similarity under 0.3 (legacy)", True),
    "teacher_agreement": ("agreement with the teacher", False),
    "overlap": ("overlap with the new candidates", True),
    "rank_biased_overlap": ("rank-biased overlap", True),
}
_COHORTS = {"trained": "", "control": ", control", "difference": ", trained less control"}
_BESIDE = {
    "easy_share": "easy when mined",
    "overlap": "overlap, less the floor",
    "rank_biased_overlap": "rank-biased overlap, less the floor",
}
_NOT_FOR_CONTROL = ("overlap", "rank_biased_overlap", "legacy_easy_share")


def staleness_section(storage: Storage, record: RoundRecord, chosen: SelectionRecord) -> Staleness | None:
    """The round's negatives under the last checkpoint that looked at them; else the last earlier round's under this one.

    Args:
        storage: the root.
        record: the round.
        chosen: the selection that the report is about.

    Returns:
        ``None`` where no checkpoint has looked back.
    """
    rows = staleness_rows(storage, list_rounds(storage, record.dataset))
    later = [row for row in rows if row["from_round"] == record.number and row["selection_id"] == chosen.selection_id]
    earlier = [row for row in rows if row["under_round"] == record.number]
    if not later and not earlier:
        return None
    under = max(row["under_round"] for row in later) if later else record.number
    shown = [row for row in later or earlier if row["under_round"] == under]
    if not later:
        last = max(row["from_round"] for row in shown)
        first = next(row["selection_id"] for row in shown if row["from_round"] == last)
        shown = [row for row in shown if (row["from_round"], row["selection_id"]) == (last, first)]
    told = facts_of(shown, [row for row in rows if row["under_round"] < under], {})
    statement = f"Under the checkpoint of round {under}: {'; '.join(lines(told))}."
    return Staleness(statement=statement, values=_values(shown), curves=curves_of(rows))


def _values(rows: Sequence[dict[str, Any]]) -> dict[str, Value]:
    values = {}
    for measure, (name, share) in _SHOWN.items():
        for row in rows:
            if row["measure"] == measure and not (row["cohort"] != "trained" and measure in _NOT_FOR_CONTROL):
                cohort = _COHORTS[row["cohort"]]
                values[name + cohort] = Value(value=row["value"], low=row["low"], high=row["high"], share=share)
                if measure in _BESIDE:
                    values[_BESIDE[measure] + cohort] = _beside(row)
    return values


def _beside(row: dict[str, Any]) -> Value:
    """What a measure is read against: its value at first, or how far an agreement is under the floor of errors and seeds."""
    floor = row["agreement_floor"]
    if floor is None:
        return Value(value=row["at_first"])
    return Value(value=floor - row["value"], low=_less(floor, row["high"]), high=_less(floor, row["low"]))


def _less(floor: float, value: float | None) -> float | None:
    return None if value is None else floor - value
