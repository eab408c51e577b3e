"""Legends: a small swatch and a name, in the colours of the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.compare.families import SOME_BACKFILL, Family, by_leak
from tasks.compare.figure import COLOURS
from tasks.report.data import Estimate, Histogram
from tasks.report.figures import group_colour
from tasks.report.svg import VARIABLES

_DASHES = {"o": "", "s": "5 2", "D": "1.5 1.5"}  # of the line that belongs to a mark, as the plot draws it


@dataclass(frozen=True)
class Key:
    """One entry of a legend.

    Args:
        name: what it stands for.
        colour: CSS.
        shape: of the mark: ``o``, ``s``, ``D``, or ``area``.
        line: whether a line runs through the mark.
        hollow: whether only its rim is drawn.
        faint: whether it is drawn faint.
        note: said after the name.
        strong: the one that the report is about.
    """

    name: str
    colour: str
    shape: str = "o"
    line: bool = False
    hollow: bool = False
    faint: bool = False
    note: str = ""
    strong: bool = False

    @property
    def dash(self) -> str:
        """The line's dashes, as SVG has them."""
        return _DASHES.get(self.shape, "")


def recipe_keys(families: Sequence[Family], served: float) -> list[Key]:
    """The legend of leak against hardness, most leak first."""
    return [
        Key(
            name=family.name,
            colour=VARIABLES[family.look["color"]],
            shape=family.marker,
            line=len(family.points) > 1,
            hollow=family.backfill >= SOME_BACKFILL,
            faint=family.points[family.default].served < served,
            note=f"{100 * family.backfill:.0f} %" if family.backfill >= SOME_BACKFILL else "",
            strong=family.strong,
        )
        for family in by_leak(families)
    ]


def group_keys(histogram: Histogram) -> list[Key]:
    """The legend of a histogram, with how many pairs each group has."""
    return [
        Key(name, VARIABLES[group_colour(name, number)], "area", note=f"{sum(counts):,}")
        for number, (name, counts) in enumerate(histogram.counts.items())
    ]


def estimator_colours(estimates: Sequence[Estimate]) -> dict[str, str]:
    """A colour for each estimator, in the order in which they come."""
    names = dict.fromkeys(each.estimator for each in estimates)
    return {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}


def estimator_keys(colours: Mapping[str, str]) -> list[Key]:
    """The legend of the estimates."""
    return [Key(name, VARIABLES[colour]) for name, colour in colours.items()]
