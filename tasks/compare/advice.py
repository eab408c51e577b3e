"""A threshold for a wanted false-negative rate."""

from __future__ import annotations

from tasks.calibration import ON_LABELS
from tasks.compare.results import Result
from tasks.compare.yields import YieldCurve, YieldPoint

_WORDS = {"truth": "measured", "calibrated": f"by the teacher, {ON_LABELS}"}


class Advice(Result):
    """Which threshold to take, or why none."""

    column: str
    threshold: float | None
    point: YieldPoint | None
    statement: str


def advise(curve: YieldCurve, wanted_rate: float, min_yield: float = 0.95) -> Advice:
    """The laxest threshold whose rate is, up to the upper end of its interval, not above what is wanted.

    Args:
        curve: of one column.
        wanted_rate: of false negatives, 0 … 1.
        min_yield: share of queries that must keep enough negatives.

    Returns:
        The threshold with its point, or none; the statement says which condition fails and what comes nearest.
    """
    if curve.estimator is None:
        return _none(curve, "nothing tells which candidates are relevant: give the truth as judged qrels, or calibrate the teacher")
    low = [point for point in curve.points if point.rate is not None and point.rate.high <= wanted_rate]
    found = [point for point in low if point.served >= min_yield]
    if found:
        return Advice(column=curve.column, threshold=found[-1].threshold, point=found[-1], statement=_said(curve, found[-1]))
    if not low:
        return _none(curve, f"no threshold holds {_percent(wanted_rate)} false negatives: {_best_rate(curve)}")
    best = max(low, key=lambda point: (point.served, -point.threshold))
    return _none(
        curve,
        f"thresholds that hold {_percent(wanted_rate)} false negatives leave too few candidates: under {best.threshold:g}, "
        f"{_percent(best.served)} of the queries keep {curve.num_negatives} (wanted: {_percent(min_yield)}); "
        "look at more ranks, take fewer negatives, or add a backfill",
    )


def _said(curve: YieldCurve, point: YieldPoint) -> str:
    assert point.rate is not None
    return (
        f"{curve.column} < {point.threshold:g}: {_percent(point.rate.value)} false negatives {_WORDS[curve.estimator or 'truth']} "
        f"(at most {_percent(point.rate.high)}) among the first {curve.num_negatives} kept; "
        f"{_percent(point.served)} of the queries keep so many, {point.remaining:.1f} candidates each"
    )


def _best_rate(curve: YieldCurve) -> str:
    known = [(point.rate.high, point) for point in curve.points if point.rate is not None]
    if not known:
        return "no candidate is judged"
    high, best = min(known, key=lambda pair: (pair[0], pair[1].threshold))
    return f"the least is at most {_percent(high)}, under {best.threshold:g}, where {_percent(best.served)} of the queries are served"


def _none(curve: YieldCurve, why: str) -> Advice:
    return Advice(column=curve.column, threshold=None, point=None, statement=f"{curve.column}: {why}")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
