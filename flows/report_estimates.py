"""Rates of false negatives as a report shows them: over all queries, and by slice."""

from __future__ import annotations

from typing import Any, Literal

import pyarrow as pa

from flows.rates import ESTIMATORS, in_words
from tasks.calibration import ON_REVIEW
from tasks.report.data import Estimate, Slice, Value

_NAMES = {
    "review": "review",
    "review_design": "review, without the teacher",
    "judged": "judged (exact)",
    "planted": "planted positives",
    "planted_survival": "planted positives",
    "planted_survival_weighted": "planted positives, weighted",
    "in_batch_pairs": "pairs, judged",
    "in_batch_rows": "rows with one or more, judged",
    "in_batch_pairs_estimated": "pairs, by similarity",
    "in_batch_rows_estimated": "rows with one or more, by similarity",
    "in_batch_pairs_by_labels": "pairs, by labels",
    "in_batch_rows_by_labels": "rows with one or more, by labels",
}
_QUANTITY: dict[str, Literal["survival", "in_batch"]] = {
    "planted_survival": "survival",
    "planted_survival_weighted": "survival",
    **dict.fromkeys((f"in_batch_{what}{how}" for what in ("pairs", "rows") for how in ("", "_estimated", "_by_labels")), "in_batch"),
}


def shown_estimates(recipe: str, table: pa.Table | None, reviewed: bool) -> list[Estimate]:
    """The rates of a selection over all its queries, the most trusted estimator first.

    Args:
        recipe: as the report names it.
        table: estimates.parquet of the measurement, or none.
        reviewed: whether the teacher was calibrated on a review.
    """
    rows = [] if table is None else [row for row in table.to_pylist() if row["slice"] in ("all", "batch_size")]
    order = list(ESTIMATORS)
    rows.sort(key=lambda row: order.index(row["estimator"]) if row["estimator"] in order else len(order))
    return [
        Estimate(
            recipe=recipe,
            estimator=_named(row["estimator"], row["value_of_slice"] if row["slice"] == "batch_size" else "", reviewed),
            words=in_words(row["estimator"], reviewed).removeprefix("false negatives, "),
            quantity=_QUANTITY.get(row["estimator"], "false_negatives"),
            rate=row["rate"],
            low=row["low"],
            high=row["high"],
            note=row["note"] or "",
        )
        for row in rows
    ]


def _named(estimator: str, batch: str, reviewed: bool) -> str:
    """As the page names an estimator, beside others of the same quantity."""
    if estimator == "calibrated_teacher":
        return f"teacher, {ON_REVIEW}" if reviewed else "teacher, fitted on labels: no count"
    return _NAMES.get(estimator, estimator.replace("_", " ")) + (f", batches of {batch}" if batch else "")


def shown_slices(table: pa.Table | None, yields: pa.Table | None) -> tuple[Slice, ...]:
    """Rates, yield and hardness by slice.

    Args:
        table: estimates.parquet of the measurement, or none.
        yields: slices.parquet of it, or none.
    """
    by: dict[tuple[str, str], dict[str, Any]] = {}
    for row in [] if table is None else table.to_pylist():
        if row["slice"] not in ("all", "batch_size"):
            mine = by.setdefault((row["slice"], row["value_of_slice"]), {"queries": 0, "values": {}})
            mine["queries"] = max(mine["queries"], row["queries"] or 0)
            mine["values"][row["estimator"].replace("_", " ")] = Value(value=row["rate"], low=row["low"], high=row["high"])
    for row in [] if yields is None else yields.to_pylist():
        if row["slice"] != "all":
            mine = by.setdefault((row["slice"], row["value_of_slice"]), {"queries": 0, "values": {}})
            mine["queries"] = max(mine["queries"], row["queries"])
            mine["values"] |= {"yield": Value(value=row["served"]), "hardness": Value(value=row["hardness"], share=False)}
    return tuple(Slice(by=name, name=value, queries=one["queries"], values=one["values"]) for (name, value), one in by.items())
