"""The look of all plots, and how they are written: on a figure of their own, without dates or versions in the file."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.errors import UsageError

SIZE = (9.0, 6.0)  # inches: 900 × 600 at 100 dots an inch
INK, GREY, GRID = "#1f2933", "#6b7785", "#e4e8ec"
COLOURS = (
    "#0b6e99",
    "#d1495b",
    "#3f7d20",
    "#8e5bb5",
    "#c77700",
    "#17807e",
    "#7a5230",
    "#b03a8c",
    "#5567c9",
    "#6f7d00",
    "#a33b20",
    "#4d7ea8",
)
_LOOK: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "svg.hashsalt": "hardmine",
    "svg.fonttype": "path",
    "text.parse_math": False,  # names are the user's: a $ is a $
}


def write_figure(path: Path, size: tuple[float, float], draw: Callable[[Any], None]) -> Path:
    """Draw and write one figure; equal input gives equal bytes.

    Args:
        path: .svg or .png; its folder is made.
        size: inches.
        draw: fills an empty ``matplotlib.figure.Figure``.

    Raises:
        UsageError: another ending.
    """
    ending = path.suffix.lower()
    if ending not in (".svg", ".png"):
        raise UsageError(f"{path}: a plot is written as .svg or .png", "give one of these endings")
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata: dict[str, Any] = {"Date": None, "Creator": "hardmine"} if ending == ".svg" else {"Software": None}
    with _drawn(size, draw, {}, "white") as figure:
        figure.savefig(path, format=ending[1:], dpi=100 if ending == ".svg" else 160, metadata=metadata)
    return path


def inline_figure(size: tuple[float, float], draw: Callable[[Any], None]) -> str:
    """Draw one figure as SVG for a page: on no ground of its own, its text as text.

    Args:
        size: inches.
        draw: fills an empty ``matplotlib.figure.Figure``.
    """
    buffer = io.StringIO()
    with _drawn(size, draw, {"svg.fonttype": "none", "axes.facecolor": "none"}, "none") as figure:
        figure.savefig(buffer, format="svg", dpi=100, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return buffer.getvalue()


@contextmanager
def _drawn(size: tuple[float, float], draw: Callable[[Any], None], more: dict[Any, Any], ground: str) -> Iterator[Any]:
    """A drawn figure in the common look, which lasts until it is written."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_LOOK, **more}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # in names; a browser has other fonts
        figure = Figure(figsize=size, dpi=100, facecolor=ground)
        FigureCanvasAgg(figure)
        draw(figure)
        yield figure


def write_title(figure: Any, left: float, title: str) -> None:
    """A title above the plot, if there is one."""
    if title:
        figure.text(left, 0.955, title, fontsize=12.5, fontweight="bold", ha="left", va="center")
