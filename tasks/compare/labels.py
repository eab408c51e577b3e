"""Names beside their marks in a plot, placed so that they cover neither marks nor lines nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

_TRIES = tuple(
    (side, shift * distance)
    for distance in (0, 9, 15, 22, 30)
    for side, shift in ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1))
    if (distance == 0) == (shift == 0) and (side != 0 or distance >= 15)
)
_GAP = 8.0  # points between a mark and its name
_TOO_MUCH = 90.0  # square pixels that a name may cover before it is left out


@dataclass(frozen=True)
class Label:
    """A name and its mark, in data coordinates."""

    text: str
    place: tuple[float, float]
    colour: str
    strong: bool = False


def place_labels(
    figure: Any,
    axes: Any,
    labels: Sequence[Label],
    marks: Sequence[tuple[float, float]],
    lines: Sequence[Sequence[tuple[float, float]]],
    drawn_halo: bool = True,
) -> list[str]:
    """Write the names, strong ones first; one that finds no free place is left out (the legend names it).

    Args:
        figure: with a canvas; all else is drawn already.
        axes: of the plot.
        labels: what to write.
        marks: all marks, in data coordinates.
        lines: all lines, as their corners.
        drawn_halo: clear the ground around the letters, which makes them paths; else they stay text in a group with id ``class:halo``.

    Returns:
        The names that are written.
    """
    figure.canvas.draw()
    taken = [_around(axes.transData.transform(mark), 6.0) for mark in marks]
    taken += [_around(point, 2.0) for line in lines for point in _along(axes.transData.transform(np.asarray(line)))]
    written = []
    for label in sorted(labels, key=lambda each: not each.strong):
        text = _text(axes, label, drawn_halo)
        cost, shift = _settle(figure, axes, text, taken)
        if cost > _TOO_MUCH and not label.strong:
            text.remove()
            continue
        written.append(label.text)
        box = text.get_window_extent(figure.canvas.get_renderer())
        taken.append(box.padded(1.5))
        if abs(shift) > 9:
            _leader(axes, label, box)
    return written


def _text(axes: Any, label: Label, drawn_halo: bool) -> Any:
    from matplotlib.patheffects import withStroke

    text = axes.annotate(
        label.text, label.place, (0, 0), textcoords="offset points", va="center", annotation_clip=False, zorder=8,
        color=label.colour, fontsize=9, fontweight="bold" if label.strong else "normal",
    )  # fmt: skip
    if drawn_halo:
        text.set_path_effects([withStroke(linewidth=2.2, foreground="white", alpha=0.85)])
    else:
        text.set_gid("class:halo")
    return text


def _settle(figure: Any, axes: Any, text: Any, taken: Sequence[Any]) -> tuple[float, float]:
    """Move a name to where it covers least, near places first; (square pixels covered, points up or down)."""
    renderer = figure.canvas.get_renderer()
    inside = axes.get_window_extent(renderer)
    found = []
    for number, (side, shift) in enumerate(_TRIES):
        _move(text, side, shift)
        box = text.get_window_extent(renderer).padded(1.0)
        outside = max(0.0, box.x1 - inside.x1) + max(0.0, inside.x0 - box.x0) + max(0.0, box.y1 - inside.y1) + max(0.0, inside.y0 - box.y0)
        covered = sum(_shared(box, other) for other in taken) + 20 * outside
        found.append((covered + 1.2 * number, covered, side, shift))
    _, covered, side, shift = min(found)
    _move(text, side, shift)
    return covered, shift


def _move(text: Any, side: int, shift: float) -> None:
    text.set_position((side * _GAP, shift))
    text.set_horizontalalignment({1: "left", 0: "center", -1: "right"}[side])


def _leader(axes: Any, label: Label, box: Any) -> None:
    """A thin line from a mark to its name."""
    x, y = axes.transData.transform(label.place)
    end = (min(max(x, box.x0), box.x1), box.y0 if box.y0 > y else box.y1)
    ends = axes.transData.inverted().transform([(x, y), end])
    axes.plot(ends[:, 0], ends[:, 1], color=label.colour, linewidth=0.7, alpha=0.7, zorder=2, scalex=False, scaley=False)


def _along(corners: Any) -> list[tuple[float, float]]:
    """Points every few pixels along a line."""
    points: list[tuple[float, float]] = []
    for first, second in pairwise(corners):
        steps = max(1, int(np.hypot(*(second - first)) // 5))
        points += [(float(x), float(y)) for x, y in np.linspace(first, second, steps, endpoint=False)]
    return points


def _around(place: Any, radius: float) -> Any:
    from matplotlib.transforms import Bbox

    return Bbox.from_extents(place[0] - radius, place[1] - radius, place[0] + radius, place[1] + radius)


def _shared(first: Any, second: Any) -> float:
    """Area that two boxes share."""
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    return float(max(0.0, width) * max(0.0, height))
