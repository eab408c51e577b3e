"""Recipes as a plot of leak against hardness shows them: their points, and each one's colour, line and mark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tasks.calibration import ON_LABELS
from tasks.compare.curves import Curve, CurvePoint
from tasks.compare.figure import COLOURS, INK

Leak = Literal["leak", "gradient_leak", "estimated"]
Hardness = Literal["hardness", "fixed_hardness"]

LEAK_WORDS: dict[Leak, str] = {
    "leak": "false negatives among the negatives (%)",
    "gradient_leak": "false negatives by gradient, Σ p·FN / Σ p (%)",
    "estimated": f"false negatives by the teacher, {ON_LABELS} (%)",
}
HARDNESS_WORDS: dict[Hardness, str] = {
    "hardness": "hardness: mean similarity of the negatives",
    "fixed_hardness": "hardness: mean similarity under the second encoder",
}
SOME_BACKFILL = 0.005  # share of backfill from which a mark is hollow

_STYLES = (("-", "o"), ((0, (5, 2)), "s"), ((0, (1, 1.2)), "D"))  # line and mark of the first, second … round of colours


@dataclass(frozen=True)
class Family:
    """A recipe as it is drawn; leak in percent."""

    name: str
    parameter: str
    points: tuple[CurvePoint, ...]
    places: tuple[tuple[float, float], ...]
    look: Mapping[str, Any]
    marker: str
    strong: bool

    @property
    def default(self) -> int:
        """Place of the default setting among the points, or of the last."""
        return next((at for at, point in enumerate(self.points) if point.is_default), len(self.points) - 1)

    @property
    def backfill(self) -> float:
        """Share of backfill among the negatives of the default setting."""
        return self.points[self.default].backfill or 0.0

    def tip(self, at: int) -> str:
        """One point in words."""
        point, (hardness, leak) = self.points[at], self.places[at]
        setting = f", {self.parameter} = {point.value}" if self.parameter and point.value is not None else ""
        share = point.backfill or 0.0
        filled = f", backfill {100 * share:.0f} %" if share >= SOME_BACKFILL else ""
        return f"{self.name}{setting}: {leak:.1f} % at hardness {hardness:.3f}, serves {100 * point.served:.0f} %{filled}"


def families(
    curves: Sequence[Curve],
    points: Mapping[str, CurvePoint],
    leak: Leak = "leak",
    hardness: Hardness = "hardness",
    highlight: str = "hardmine",
) -> list[Family]:
    """Recipes that have a point with both values, in the given order: those with a curve, then those without.

    Args:
        curves: recipes with a setting.
        points: recipes without one, by name.
        leak: what the height is.
        hardness: what the width is.
        highlight: the recipe that is drawn strongest.
    """
    singles = [Curve(family=name, points=(point.model_copy(update={"is_default": True}),)) for name, point in points.items()]
    found = []
    for number, curve in enumerate([*curves, *singles]):
        known = tuple(point for point in curve.points if getattr(point, leak) is not None and getattr(point, hardness) is not None)
        strong = curve.family == highlight
        line, marker = _STYLES[number // len(COLOURS) % len(_STYLES)]
        look = {"color": INK if strong else COLOURS[number % len(COLOURS)], "linestyle": line, "linewidth": 2.6 if strong else 1.5}
        if known:
            places = tuple((float(getattr(point, hardness)), 100 * float(getattr(point, leak))) for point in known)
            found.append(Family(curve.family, curve.parameter, known, places, look, marker, strong))
    return found


def by_leak(found: Sequence[Family]) -> list[Family]:
    """The order of a legend: by the leak of the default setting, most first."""
    return sorted(found, key=lambda each: -each.places[each.default][1])
