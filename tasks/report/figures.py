"""The figures of a report, as inline SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from tasks.compare.figure import COLOURS, GREY, GRID, INK, SIZE
from tasks.compare.plot import LeakPlot, draw_yields
from tasks.compare.yields import YieldCurve
from tasks.report.data import Cost, Estimate, Funnel, Histogram, ReliabilityBin
from tasks.report.svg import inline_svg
from tasks.report.words import count, line, percent, seconds, spaced
from tasks.staleness.plot import StalenessCurve, draw_staleness

BLUE, RED, GREEN, AMBER = COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[4]
GROUPS = {"positives": GREEN, "negatives": BLUE, "suspects": RED, "rejected": AMBER, "planted": COLOURS[3]}
WIDE, NARROW, SIDE = 8.6, 5.0, 4.6  # inches of a figure over the whole column, of the same on a small screen, of one beside another

Drawn = tuple[Markup, Markup]  # for a wide and for a small screen

_ROW = 0.31  # inches of a bar
_MOST_REASONS = 10


def group_colour(name: str, number: int) -> str:
    """A group's colour: by what it means, else the next one."""
    return GROUPS.get(name, COLOURS[(5 + number) % len(COLOURS)])


def funnel_figure(name: str, funnel: Funnel) -> Drawn:
    """From all candidates to the negatives, one bar a step, each beginning where the one before it ended."""
    steps = _steps(funnel)
    total = max(funnel.candidates, 1)

    def draw(figure: Any) -> None:
        axes = _bars(figure, [label for label, _, _ in steps], right=1.55)
        left = funnel.candidates
        for place, (label, amount, colour) in enumerate(steps):
            start = 0 if label in ("candidates", "negatives") else left - amount
            if label != "candidates":
                left -= amount
            tip = f"tip:{label}: {amount:,} ({percent(amount / total)})"
            axes.barh(place, amount, left=start, height=0.68, color=colour, alpha=0.65 if colour in (GREY, INK) else 1.0, gid=tip)
            for right, words, tint in ((0.85, count(amount), INK), (1.5, percent(amount / total), GREY)):
                _at_right(axes, place, right, words, tint)
            if label not in ("candidates", "negatives"):
                axes.plot([start, start], [place - 0.34, place + 1.34], color=GREY, linewidth=0.6)
        axes.set_xlim(0, total)

    words = f"{funnel.recipe}: {funnel.candidates:,} candidates become {funnel.negatives:,} negatives"
    return _both(name, _height(steps), draw, words)


def histogram_figure(name: str, histogram: Histogram) -> Markup:
    """Shares of each group by score, one over the other."""
    shown = [group for group, counts in histogram.counts.items() if sum(counts)]
    words = f"Distribution of {histogram.score} over {', '.join(shown) or 'nothing'}"
    return inline_svg(name, (SIDE, 3.1), lambda figure: draw_histogram(figure, histogram), words)


def draw_histogram(figure: Any, histogram: Histogram) -> None:
    """See :func:`histogram_figure`."""
    axes = figure.add_axes((0.115, 0.17, 0.865, 0.76))
    for number, (group, counts) in enumerate(histogram.counts.items()):
        if not sum(counts):
            continue
        colour = group_colour(group, number)
        heights = [100 * each / sum(counts) for each in counts]
        axes.stairs(heights, histogram.edges, fill=True, color=colour, alpha=0.16, zorder=2)
        axes.stairs(heights, histogram.edges, color=colour, linewidth=1.6, zorder=3)
    for mark, value in histogram.marks.items():
        axes.axvline(value, color=INK, linewidth=1.1, linestyle=(0, (4, 2)), zorder=4)
        axes.annotate(
            line(mark, 30), (value, 1.0), (0, 4), xycoords=("data", "axes fraction"), textcoords="offset points",
            ha="center", va="bottom", fontsize=9, color=INK, annotation_clip=False,
        )  # fmt: skip
    axes.set_xlim(histogram.edges[0], histogram.edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(histogram.words or histogram.score)
    axes.set_ylabel("share of the group (%)")
    axes.locator_params(axis="y", nbins=5)


def leak_figure(name: str, plot: LeakPlot) -> Drawn:
    """Leak against hardness of the recipes."""
    words = "False negatives against hardness, one line or mark a recipe"
    return inline_svg(name, SIZE, plot.draw, words), inline_svg(f"{name}-narrow", (NARROW, 5.6), plot.draw, words)


_AXES = {
    "false_negatives": "false negatives among the negatives (%)",
    "survival": "survival: P(emitted | relevant and retrieved) (%)",
    "in_batch": "share of the batch's pairs, or of its rows (%)",
}


def estimates_figure(name: str, estimates: Sequence[Estimate], colours: dict[str, str]) -> Drawn:
    """Each recipe's rates with their intervals, one mark an estimator.

    Args:
        name: of the figure.
        estimates: with a rate, one or more, of one quantity.
        colours: by estimator.
    """
    recipes = list(dict.fromkeys(each.recipe for each in estimates))
    rows = [(recipe, each) for recipe in recipes for each in estimates if each.recipe == recipe]
    places, labels = _grouped([recipe for recipe, _ in rows])

    def draw(figure: Any) -> None:
        width, height = figure.get_size_inches()
        left = _room([label for _, label in labels])
        axes = figure.add_axes((left / width, 0.52 / height, 1 - (left + 0.2) / width, 1 - 0.62 / height))
        for place, (_, each) in zip(places, rows, strict=True):
            colour, rate = colours[each.estimator], 100 * (each.rate or 0.0)
            tip = f"tip:{each.recipe}, {each.estimator}: {percent(each.rate)}"
            if each.low is not None and each.high is not None:
                axes.plot(
                    [100 * each.low, 100 * each.high], [place, place], color=colour, linewidth=2.4, alpha=0.45, solid_capstyle="round"
                )
            axes.plot([rate], [place], marker="o", linestyle="none", markersize=6.5, color=colour, gid=tip)
        axes.set_yticks([place for place, _ in labels], [line(label, 28) for _, label in labels])
        axes.set_ylim(max(places) + 0.6, -0.6)
        axes.set_xlim(left=0)
        _plain_rows(axes)
        axes.set_xlabel(_AXES[estimates[0].quantity])

    return _both(name, 0.75 + 0.24 * (max(places) + 1), draw, "Estimated rates with their intervals, by recipe and estimator")


def reliability_figure(name: str, bins: Sequence[ReliabilityBin]) -> Markup:
    """Observed against predicted share, and how many pairs there are of each."""
    most = max((each.pairs for each in bins), default=1) or 1
    ends = [value for each in bins for value in (each.predicted, each.observed, each.high or 0.0)]
    end = min(max([1.15 * value for value in ends], default=1.0) if any(ends) else 1.0, 1.0)  # probabilities may all be small

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0.135, 0.32, 0.84, 0.65))
        below = figure.add_axes((0.135, 0.125, 0.84, 0.15), sharex=axes)
        axes.plot([0, end], [0, end], color=GREY, linewidth=1.1, linestyle=(0, (4, 3)))
        axes.plot([each.predicted for each in bins], [each.observed for each in bins], color=BLUE, linewidth=1.3, alpha=0.5)
        for each in bins:
            if each.low is not None and each.high is not None:
                axes.plot([each.predicted] * 2, [each.low, each.high], color=BLUE, linewidth=2.2, alpha=0.4, solid_capstyle="round")
            tip = f"tip:predicted {each.predicted:.3f}, observed {each.observed:.3f}, {each.pairs:,} pairs"
            axes.plot([each.predicted], [each.observed], marker="o", linestyle="none", markersize=6.5, color=BLUE, gid=tip)
            below.bar(each.predicted, each.pairs / most, width=0.025 * end, color=BLUE, alpha=0.6)
        axes.set_xlim(-0.02 * end, 1.02 * end)
        axes.set_ylim(-0.02 * end, 1.02 * end)
        axes.set_ylabel("observed share relevant")
        axes.tick_params(labelbottom=False)
        below.set_yticks([])
        below.set_ylabel("pairs")
        below.grid(False)
        below.set_xlabel("predicted probability")

    return inline_svg(name, (SIDE, 4.3), draw, "Reliability: observed against predicted share of relevant pairs")


def yield_figure(name: str, curve: YieldCurve, chosen: dict[str, float]) -> Markup:
    """False negatives and queries served by one column's threshold."""
    return inline_svg(
        name, (SIDE, 4.2), lambda figure: draw_yields(figure, [curve], chosen), f"Yield and false negatives by {curve.column}"
    )


def cost_figure(name: str, stages: Sequence[Cost]) -> Drawn:
    """Seconds of each stage; what was done before is grey."""
    most = max((each.seconds for each in stages), default=0.0) or 1.0

    def draw(figure: Any) -> None:
        axes = _bars(figure, [spaced(each.stage) for each in stages], right=2.2)
        for place, each in enumerate(stages):
            spent = 0.0 if each.reused else each.seconds
            axes.barh(place, spent, height=0.62, color=BLUE, gid=f"tip:{each.stage}: {seconds(spent)}")
            calls = f" · {count(each.model_calls)} model calls" if each.model_calls and not each.reused else ""
            words = "done before" if each.reused else f"{seconds(each.seconds)}{calls}"
            axes.annotate(words, (spent, place), (6, 0), textcoords="offset points", va="center", color=GREY if each.reused else INK)
        axes.set_xlim(0, most)

    return _both(name, _height(stages), draw, "Seconds of computing by stage")


def staleness_figure(name: str, curves: Sequence[StalenessCurve]) -> Drawn:
    """Loss share of each round's negatives under later checkpoints."""
    height = 3.6 + 0.11 * len(curves)
    return _both(name, height, lambda figure: draw_staleness(figure, curves, COLOURS), "Loss share of negatives by trainings since")


def _both(name: str, height: float, draw: Callable[[Any], None], label: str) -> Drawn:
    return inline_svg(name, (WIDE, height), draw, label), inline_svg(f"{name}-narrow", (NARROW, height), draw, label)


def _steps(funnel: Funnel) -> list[tuple[str, int, str]]:
    """(what, how many, colour), with the rarest reasons put together; steps of nothing are left out."""
    rejected = sorted(funnel.rejected, key=lambda each: (-each.count, each.reason))
    reasons = [(f"rejected: {spaced(each.reason)}", each.count, AMBER) for each in rejected[:_MOST_REASONS]]
    rest = sum(each.count for each in rejected[_MOST_REASONS:])
    steps = [
        ("labelled positives", funnel.positives, GREEN),
        *reasons,
        ("rejected: other reasons", rest, AMBER),
        ("pseudo-positives", funnel.pseudo_positives, GREEN),
        ("not scored by the teacher", funnel.unscored, GREY),
        ("not drawn", funnel.not_drawn, GREY),
        ("not accounted for", funnel.unaccounted, RED),
    ]
    kept = [(line(label, 40), amount, colour) for label, amount, colour in steps if amount]
    return [("candidates", funnel.candidates, INK), *kept, ("negatives", funnel.negatives, BLUE)]


def _height(rows: Sequence[object]) -> float:
    return _ROW * max(len(rows), 1) + 0.1


def _bars(figure: Any, labels: Sequence[str], right: float) -> Any:
    """Axes for horizontal bars from above, without ticks; so many inches at the right are for words."""
    width, left = figure.get_size_inches()[0], _room(labels)
    axes = figure.add_axes((left / width, 0.02, 1 - (left + right) / width, 0.96))
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xticks([])
    _plain_rows(axes)
    axes.spines["bottom"].set_visible(False)
    return axes


def _room(labels: Sequence[str]) -> float:
    """Inches for the labels at the left."""
    return min(max(0.2 + 0.078 * max(map(len, labels), default=0), 0.7), 2.8)


def _at_right(axes: Any, place: float, inches: float, words: str, colour: str) -> None:
    """Words that end so many inches right of the axes."""
    place_of = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "annotation_clip": False}
    axes.annotate(words, (1.0, place), (72 * inches, 0), **place_of, ha="right", va="center", color=colour)


def _plain_rows(axes: Any) -> None:
    axes.tick_params(axis="y", length=0, labelcolor=INK, pad=6)
    axes.grid(False, axis="y")
    axes.spines["left"].set_color(GRID)


def _grouped(recipes: Sequence[str]) -> tuple[list[float], list[tuple[float, str]]]:
    """Places of rows with a gap after each recipe, and the middle of each recipe's rows with its name."""
    places: list[float] = []
    rows: dict[str, list[float]] = {}
    at = 0.0
    for number, recipe in enumerate(recipes):
        at += 0.0 if not number else (1.0 if recipe == recipes[number - 1] else 1.6)
        places.append(at)
        rows.setdefault(recipe, []).append(at)
    return places, [(sum(each) / len(each), recipe) for recipe, each in rows.items()]
