"""Plots as PNG data URIs, for pages that show neither SVG nor files."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.compare.figure import COLOURS, GREY, INK, write_figure
from tasks.report.data import Histogram
from tasks.report.figures import AMBER, draw_histogram, group_colour
from tasks.report.words import count, line
from tasks.staleness.plot import StalenessCurve, draw_staleness

_WIDTH = 7.2  # inches
_ROW = 0.34
_TITLE = 0.5
_GROUPS = {"positive": "positives", "negative": "negatives", "suspect": "suspects", "rejected": "rejected", "planted": "planted"}
_WORDS = {
    "dense_score": "similarity of query and document",
    "teacher_logit": "the teacher's logit",
    "label_evidence": "what neighbouring labels say",
}


def bars_picture(title: str, amounts: Mapping[str, int]) -> str:
    """Horizontal bars, one a name, with their numbers."""
    names, values = list(amounts), list(amounts.values())

    height = _TITLE + _ROW * len(names)

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0.46, 0.04, 0.44, 1 - _TITLE / height - 0.04))
        axes.barh(range(len(names)), values, color=AMBER, height=0.66)
        axes.set_yticks(range(len(names)), [line(name, 48) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        for place, value in enumerate(values):
            axes.annotate(count(value), (value, place), (4, 0), textcoords="offset points", va="center", fontsize=9, color=GREY)
        figure.text(0.02, 1 - _TITLE / height / 2, title, fontsize=11, fontweight="bold", color=INK, va="center")

    return _uri((_WIDTH, height), draw)


def scores_picture(histogram: Histogram) -> str:
    """Shares of each group by score, one over the other, with a legend."""
    shown = [group for group, counts in histogram.counts.items() if sum(counts)]

    def draw(figure: Any) -> None:
        draw_histogram(figure, histogram)
        for number, group in enumerate(histogram.counts):
            if group in shown:
                figure.text(0.115 + 0.17 * shown.index(group), 0.985, group, fontsize=10, va="top", color=group_colour(group, number))

    return _uri((_WIDTH, 3.4), draw)


def staleness_picture(curves: Sequence[StalenessCurve]) -> str:
    """Loss share of earlier rounds' negatives under later checkpoints."""
    return _uri((_WIDTH, 4.0), lambda figure: draw_staleness(figure, curves, COLOURS))


def histograms(table: pa.Table) -> list[Histogram]:
    """A selection's histograms, one a score.

    Args:
        table: histogram.parquet of the stage ``measure``: score, kind, low, high, pairs.
    """
    found = []
    for score in table["score"].unique().to_pylist():
        rows = table.filter(pc.equal(table["score"], score)).sort_by([("kind", "ascending"), ("low", "ascending")]).to_pylist()
        lows = sorted({row["low"] for row in rows})
        kinds = {row["kind"] for row in rows}
        counts = {group: [0] * len(lows) for kind, group in _GROUPS.items() if kind in kinds}
        for row in rows:
            counts[_GROUPS[row["kind"]]][lows.index(row["low"])] = row["pairs"]
        edges = (*lows, max(row["high"] for row in rows))
        shares = {name: tuple(values) for name, values in counts.items()}
        found.append(Histogram(score=score, words=_WORDS.get(score, ""), edges=edges, counts=shares))
    return found


def _uri(size: tuple[float, float], draw: Callable[[Any], None]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = write_figure(Path(folder) / "plot.png", size, draw)
        return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
