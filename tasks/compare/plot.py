"""Plots of a comparison, as SVG or PNG: leak against hardness, and yield curves. Equal input gives equal bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tasks.compare.curves import Curve, CurvePoint, pareto
from tasks.compare.families import HARDNESS_WORDS, LEAK_WORDS, SOME_BACKFILL, Family, Hardness, Leak, by_leak, families
from tasks.compare.figure import COLOURS, GREY, INK, SIZE, write_figure, write_title
from tasks.compare.labels import Label, place_labels
from tasks.compare.yields import YieldCurve
from tasks.errors import UsageError


def leak_against_hardness(
    curves: Sequence[Curve],
    points: Mapping[str, CurvePoint],
    path: Path,
    *,
    leak: Leak = "leak",
    hardness: Hardness = "hardness",
    served: float = 0.95,
    highlight: str = "hardmine",
    title: str = "",
) -> Path:
    """One line a recipe over its settings, one mark a recipe without a curve. Lower right is better.

    A large mark is the default setting, with its interval; a hollow one has backfill among its negatives; what serves fewer queries than
    ``served`` is faint. The dotted steps are the least leak at each hardness, among settings that serve enough.

    Args:
        curves: recipes with a setting.
        points: recipes without one, by name.
        path: .svg or .png.
        leak: what the height is.
        hardness: what the width is.
        served: yield under which points are faint.
        highlight: the recipe that is drawn strongest.
        title: above the plot.

    Raises:
        UsageError: another ending, or no point has both values.
    """
    found = families(curves, points, leak, hardness, highlight)
    if not found:
        raise UsageError("there is nothing to plot: no recipe has both a hardness and a false-negative rate", "give judged qrels")
    return write_figure(path, SIZE, LeakPlot(tuple(found), leak, hardness, served, title).draw)


@dataclass(frozen=True)
class LeakPlot:
    """Leak against hardness, to be drawn on a figure.

    Args:
        families: at least one recipe.
        leak: what the height is.
        hardness: what the width is.
        served: yield under which points are faint.
        title: above the plot.
        inline: for a page that has its own legend: without one, marks carry ``tip:`` ids, names are plain text in the class ``halo``.
    """

    families: tuple[Family, ...]
    leak: Leak = "leak"
    hardness: Hardness = "hardness"
    served: float = 0.95
    title: str = ""
    inline: bool = False

    def draw(self, figure: Any) -> None:
        """Fill an empty figure; :data:`tasks.compare.figure.SIZE` has room for the legend."""
        width, height = figure.get_size_inches()
        left, right, bottom, top = 0.675, 0.18 if self.inline else 2.43, 0.57, 0.48 if self.title else 0.18
        axes = figure.add_axes((left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height))
        for family in self.families:
            _draw_family(axes, family, self)
        front = _draw_front(axes, self)
        axes.set_xlabel(HARDNESS_WORDS[self.hardness])
        axes.set_ylabel(LEAK_WORDS[self.leak])
        axes.margins(x=0.05, y=0.05)
        least, most = axes.get_ylim()
        axes.set_ylim(min(least, -0.04 * most), most)
        if not self.inline:
            _name_families(axes, self.families, self.served)
            _explain_marks(axes, self.families, self.served)
        labels = [Label(each.name, each.places[each.default], each.look["color"], each.strong) for each in self.families]
        marks = [place for each in self.families for place in each.places]
        place_labels(figure, axes, labels, marks, [*(each.places for each in self.families), front], drawn_halo=not self.inline)
        write_title(figure, 0.075, self.title)


def yield_curves(curves: Sequence[YieldCurve], path: Path, *, chosen: Mapping[str, float] | None = None, title: str = "") -> Path:
    """Above: the rate of false negatives under each threshold, with its interval; below: queries that keep enough negatives.

    Args:
        curves: one column each, side by side.
        path: .svg or .png.
        chosen: by column, the threshold to mark.
        title: above the plot.

    Raises:
        UsageError: another ending, or no curve.
    """
    if not curves:
        raise UsageError("there is no yield curve to plot", "name a column")
    width = max(SIZE[0], 0.6 + 2.8 * len(curves))
    return write_figure(path, (width, SIZE[1]), lambda figure: draw_yields(figure, curves, chosen or {}, title))


def draw_yields(figure: Any, curves: Sequence[YieldCurve], chosen: Mapping[str, float], title: str = "") -> None:
    """Fill an empty figure with yield curves side by side; see :func:`yield_curves`."""
    width, height = figure.get_size_inches()
    grid = figure.subplots(2, len(curves), squeeze=False, sharex="col", sharey="row")
    top = 1 - (0.78 if title else 0.36) / height
    figure.subplots_adjust(left=0.7 / width, right=1 - 0.25 / width, top=top, bottom=0.6 / height, hspace=0.1, wspace=0.13)
    for at, curve in enumerate(curves):
        _draw_yields(grid[0][at], grid[1][at], curve, COLOURS[at % len(COLOURS)])
        if curve.column in chosen:
            _mark_threshold(grid[0][at], grid[1][at], chosen[curve.column])
    grid[0][0].set_ylim(bottom=0)
    grid[1][0].set_ylim(0, 103)
    grid[0][0].set_ylabel("false negatives (%)")
    grid[1][0].set_ylabel(f"queries that keep {curves[0].num_negatives} (%)")
    write_title(figure, 0.7 / width, title)


def _draw_family(axes: Any, family: Family, plot: LeakPlot) -> None:
    """Segments between neighbouring settings, then the marks."""
    served = plot.served
    height = 5 if family.strong else 3
    pairs = list(zip(family.points, family.places, strict=True))
    for (first, start), (second, end) in pairwise(pairs):
        faint = min(first.served, second.served) < served
        xy = zip(start, end, strict=True)
        axes.plot(*xy, **family.look, alpha=0.28 if faint else 0.95, zorder=height, dash_capstyle="round")
    for at, (point, place) in enumerate(pairs):
        default = at == family.default
        alpha = 0.32 if point.served < served else 1.0
        if default and plot.leak == "leak" and point.leak_low is not None and point.leak_high is not None:
            ends = [100 * point.leak_low, 100 * point.leak_high]
            axes.plot([place[0]] * 2, ends, color=family.look["color"], linewidth=1.1, alpha=0.6 * alpha, zorder=height)
        size = (8.5 if default else 4.4) + (1.2 if family.strong else 0.0)
        tip = {"gid": f"tip:{family.tip(at)}"} if plot.inline else {}
        axes.plot([place[0]], [place[1]], **_mark(point, family, size), **tip, linestyle="none", alpha=alpha, zorder=height + 1)


def _mark(point: CurvePoint, family: Family, size: float) -> dict[str, Any]:
    """A mark in the family's shape, hollow where backfill is among the negatives."""
    colour = family.look["color"]
    face = "white" if (point.backfill or 0.0) >= SOME_BACKFILL else colour
    size *= 1.0 if family.marker == "o" else 0.85
    return {"marker": family.marker, "markersize": size, "markerfacecolor": face, "markeredgecolor": colour, "markeredgewidth": 1.6}


def _draw_front(axes: Any, plot: LeakPlot) -> list[tuple[float, float]]:
    """Steps along the points that no other beats; their corners."""
    points = [point for family in plot.families for point in family.points]
    places = [place for family in plot.families for place in family.places]
    plain = [point.model_copy(update={"hardness": place[0], "leak": place[1]}) for point, place in zip(points, places, strict=True)]
    front = [places[at] for at in reversed(pareto(plain, plot.served))]
    corners = [corner for first, second in pairwise(front) for corner in (first, (first[0], second[1]))]
    corners += front[-1:]
    if len(front) > 1:
        axes.plot(*zip(*corners, strict=True), color=GREY, linewidth=1.1, linestyle=(0, (1, 2)), zorder=1)
    return corners


def _name_families(axes: Any, found: Sequence[Family], served: float) -> None:
    """All recipes to the right of the plot, by the leak of their default setting, with their backfill."""
    from matplotlib.lines import Line2D

    entries = []
    for family in by_leak(found):
        point = family.points[family.default]
        share = f"  ({100 * family.backfill:.0f} %)" if family.backfill >= SOME_BACKFILL else ""
        line = family.look if len(family.points) > 1 else {**family.look, "linestyle": "none"}
        alpha = 0.32 if point.served < served else 1.0
        entries.append(Line2D([], [], **line, **_mark(point, family, 6.0), alpha=alpha, label=family.name + share))
    size = min(8.5, 8.5 * 27 / max(len(entries), 1))
    legend = axes.legend(
        handles=entries, loc="upper left", bbox_to_anchor=(1.02, 1.01), frameon=False, fontsize=size, borderaxespad=0, labelspacing=0.35
    )
    for text, entry in zip(legend.get_texts(), entries, strict=True):
        text.set_color(entry.get_color())
        text.set_fontweight("bold" if entry.get_color() == INK else "normal")
    axes.add_artist(legend)


def _explain_marks(axes: Any, found: Sequence[Family], served: float) -> None:
    """What marks and lines mean, at the lower right."""
    from matplotlib.lines import Line2D

    points = [point for family in found for point in family.points]
    plain: dict[str, Any] = {"marker": "o", "color": GREY, "linestyle": "none", "markeredgewidth": 1.6}
    entries = [Line2D([], [], markersize=8.5, label="default setting", **plain)]
    if any(len(family.points) > 1 for family in found):
        entries.append(Line2D([], [], markersize=4.4, label="another setting", **plain))
    if any((point.backfill or 0) >= SOME_BACKFILL for point in points):
        entries.append(Line2D([], [], markersize=8.5, markerfacecolor="white", label="with backfill (share)", **plain))
    if any(point.served < served for point in points):
        entries.append(Line2D([], [], markersize=8.5, alpha=0.32, label=f"serves under {100 * served:g} %", **plain))
    if sum(point.served >= served for point in points) > 1:
        entries.append(Line2D([], [], color=GREY, linewidth=1.1, linestyle=(0, (1, 2)), label="least leak at a hardness"))
    axes.legend(
        handles=entries, loc="lower left", bbox_to_anchor=(1.02, -0.01), frameon=False, fontsize=8.5, borderaxespad=0, labelspacing=0.5
    )


def _draw_yields(above: Any, below: Any, curve: YieldCurve, colour: str) -> None:
    above.set_title(curve.column, fontsize=10.5, loc="left")
    known = [(point.threshold, point.rate) for point in curve.points if point.rate is not None]
    if known:
        x = [threshold for threshold, _ in known]
        above.fill_between(
            x, *([100 * getattr(rate, end) for _, rate in known] for end in ("low", "high")), color=colour, alpha=0.18, linewidth=0
        )
        above.plot(x, [100 * rate.value for _, rate in known], color=colour, linewidth=1.8)
    else:
        above.text(0.5, 0.5, "no truth and no calibrated teacher", transform=above.transAxes, ha="center", color=GREY, fontsize=9)
        above.tick_params(labelleft=False)
    below.plot([point.threshold for point in curve.points], [100 * point.served for point in curve.points], color=colour, linewidth=1.8)
    below.locator_params(axis="x", nbins=5)
    below.set_xlabel("kept if under")


def _mark_threshold(above: Any, below: Any, threshold: float) -> None:
    for axes in (above, below):
        axes.axvline(threshold, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
    above.annotate(
        f"< {threshold:g}", (threshold, 1.0), (5, -4), xycoords=("data", "axes fraction"), textcoords="offset points", va="top",
        fontsize=9, fontweight="bold",
    )  # fmt: skip
