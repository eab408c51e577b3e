"""The look of all plots, and how they are written: on a figure of their own, without dates or versions in the file."""

from __future__ import annotations

from collections.abc import Callable
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
LOOK: dict[Any, Any] = {
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
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=size, dpi=100, facecolor="white")
        FigureCanvasAgg(figure)
        draw(figure)
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata: dict[str, Any] = {"Date": None, "Creator": "hardmine"} if ending == ".svg" else {"Software": None}
        figure.savefig(path, format=ending[1:], dpi=100 if ending == ".svg" else 160, metadata=metadata)
    return path


def write_title(figure: Any, left: float, title: str) -> None:
    """A title above the plot, if there is one."""
    if title:
        figure.text(left, 0.955, title, fontsize=12.5, fontweight="bold", ha="left", va="center")
