"""Curves over a recipe's setting: leak against hardness, at equal yield."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from pydantic import Field

from tasks.compare.results import Metrics, Rate, Result, Spread

CURVES = pa.schema(
    [
        ("family", pa.string()),
        ("parameter", pa.string()),
        ("value", pa.string()),
        ("is_default", pa.bool_()),
        *(
            (name, pa.float64())
            for name in ("served", "hardness", "fixed_hardness", "leak", "leak_low", "leak_high", "gradient_leak", "estimated", "backfill")
        ),
    ]
)


class CurvePoint(Result):
    """One setting of a recipe."""

    value: int | float | str | None = Field(None, description="Of the setting; none for a recipe without one.")
    is_default: bool = False
    served: float = Field(description="Yield: share of queries fully served.")
    hardness: float | None = Field(description="Mean dense_score of the negatives.")
    fixed_hardness: float | None = None
    leak: float | None = None
    leak_low: float | None = None
    leak_high: float | None = None
    gradient_leak: float | None = None
    estimated: float | None = None
    backfill: float | None = None
    interpolated: bool = Field(False, description="Not measured: between two measured settings.")

    @classmethod
    def of(cls, metrics: Metrics, value: int | float | str | None = None, is_default: bool = False) -> CurvePoint:
        """The point of a measured recipe: over the judged queries where there is a truth."""
        shown, leak = metrics.compared, metrics.leak
        return cls(
            value=value,
            is_default=is_default,
            served=shown.served,
            hardness=_mean(shown.similarity),
            fixed_hardness=_mean(shown.fixed_similarity),
            leak=_value(leak.total if leak else None),
            leak_low=leak.total.low if leak else None,
            leak_high=leak.total.high if leak else None,
            gradient_leak=_value(leak.gradient if leak else None),
            estimated=_value(shown.estimated),
            backfill=shown.backfill,
        )


class Curve(Result):
    """A recipe over the values of one setting, in their order."""

    family: str
    parameter: str = ""
    points: tuple[CurvePoint, ...]


def curve(family: str, parameter: str, measured: Sequence[tuple[float | str | None, Metrics]], default: float | str | None = None) -> Curve:
    """A curve from measured settings; numbers are put in order, words keep theirs."""
    numbers = [(float(value), at) for at, (value, _) in enumerate(measured) if isinstance(value, int | float)]
    ordered = [measured[at] for _, at in sorted(numbers)] if len(numbers) == len(measured) else measured
    points = (CurvePoint.of(found, value, value == default) for value, found in ordered)
    return Curve(family=family, parameter=parameter, points=tuple(points))


def curve_table(curves: Sequence[Curve]) -> pa.Table:
    """All points as :data:`CURVES`."""
    rows = [
        {
            **point.model_dump(exclude={"value", "interpolated"}),
            "family": line.family,
            "parameter": line.parameter,
            "value": None if point.value is None else str(point.value),
        }
        for line in curves
        for point in line.points
    ]
    return pa.Table.from_pylist(rows, schema=CURVES)


def at_yield(line: Curve, served: float = 0.95) -> CurvePoint | None:
    """The hardest setting that serves so many queries: where recipes are compared at equal yield.

    Where two neighbouring settings lie on both sides of ``served``, the point between them is taken too, by linear interpolation.

    Returns:
        The point, or none if no setting serves so many.
    """
    crossings = [
        _between(first, second, (served - first.served) / (second.served - first.served))
        for first, second in pairwise(line.points)
        if (first.served - served) * (second.served - served) < 0 and first.hardness is not None and second.hardness is not None
    ]
    enough = [point for point in (*line.points, *crossings) if point.interpolated or point.served >= served]
    enough = [point for point in enough if point.hardness is not None]
    return max(enough, key=lambda point: (point.hardness or 0.0, not point.interpolated), default=None)


def at_hardness(line: Curve, hardness: float, served: float = 0.95) -> CurvePoint | None:
    """The point of a curve at a given hardness, among neighbouring settings that both serve enough: least leak where there are several.

    Returns:
        The point, by linear interpolation between measured settings, or none if the curve does not reach that hardness.
    """
    found = [point for point in line.points if point.hardness == hardness and point.served >= served]
    for first, second in pairwise(line.points):
        if first.hardness is None or second.hardness is None or min(first.served, second.served) < served:
            continue
        if (first.hardness - hardness) * (second.hardness - hardness) < 0:
            found.append(_between(first, second, (hardness - first.hardness) / (second.hardness - first.hardness)))
    return min(found, key=lambda point: float("inf") if point.leak is None else point.leak, default=None)


def pareto(points: Sequence[CurvePoint], served: float = 0.0) -> list[int]:
    """Which points no other beats: less leak at the same hardness or more, or more hardness at the same leak or less.

    Args:
        points: of any recipes; those without leak or hardness are never on the front.
        served: points that serve fewer queries are left out.

    Returns:
        Their places in ``points``, hardest first; of equal points all.
    """
    known = [at for at, point in enumerate(points) if None not in (point.leak, point.hardness) and point.served >= served]
    order = sorted(known, key=lambda at: (-(points[at].hardness or 0.0), points[at].leak or 0.0, at))
    front: list[int] = []
    for at in order:
        last = points[front[-1]] if front else None
        leak, hardness = points[at].leak or 0.0, points[at].hardness
        if last is None or leak < (last.leak or 0.0) or (leak == last.leak and hardness == last.hardness):
            front.append(at)
    return front


def _between(first: CurvePoint, second: CurvePoint, share: float) -> CurvePoint:
    """The point at a share of the way from one to the other; what either lacks is none."""
    ends = [point.model_dump(exclude={"is_default", "interpolated"}) for point in (first, second)]
    mixed = {name: _mix(ends[0][name], ends[1][name], share) for name in ends[0]}
    return CurvePoint(**mixed, interpolated=True)


def _mix(first: float | str | None, second: float | str | None, share: float) -> float | None:
    if not isinstance(first, float | int) or not isinstance(second, float | int):
        return None
    return float(np.interp(share, (0.0, 1.0), (first, second)))


def _mean(spread: Spread | None) -> float | None:
    return spread.mean if spread else None


def _value(rate: Rate | None) -> float | None:
    return rate.value if rate else None
