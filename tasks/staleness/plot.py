"""The plot of staleness: loss share of each round's negatives under later checkpoints. Draws on a figure that it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from tasks.settings import Settings


class StalenessCurve(Settings):
    """One earlier selection's loss share by age, for trained queries or for the control."""

    from_round: int = Field(ge=0)
    recipe: str = ""
    cohort: str = Field(description="trained or control.")
    ages: tuple[int, ...] = Field(description="Trainings since; 0: the round's own checkpoint.")
    values: tuple[float, ...] = Field(description="Loss share at each age.")
    low: tuple[float | None, ...] = Field(description="Of the interval; none where it was not taken.")
    high: tuple[float | None, ...] = Field(description="Of the same.")


def curves_of(rows: Sequence[Mapping[str, Any]]) -> tuple[StalenessCurve, ...]:
    """Curves from rows of the audit's table ``staleness``.

    Args:
        rows: from_round, under_round, selection_id, recipe, age, cohort, measure, value, low, high, at_first; others are ignored.

    Returns:
        By round, recipe and cohort (trained first). Of several rounds under one checkpoint the first counts.
    """
    chosen = [row for row in rows if row["measure"] == "loss_share" and row["cohort"] in ("trained", "control")]
    grouped: dict[tuple[int, str, str, str], list[Mapping[str, Any]]] = {}
    for row in sorted(chosen, key=lambda each: int(each["under_round"])):
        key = (int(row["from_round"]), str(row["recipe"]), str(row["selection_id"]), str(row["cohort"]))
        grouped.setdefault(key, []).append(row)
    curves = []
    for key, own in sorted(grouped.items(), key=lambda item: (item[0][:3], item[0][3] != "trained")):
        at: dict[int, tuple[float, float | None, float | None]] = {}
        if own[0]["at_first"] is not None:
            at[0] = (float(own[0]["at_first"]), None, None)
        for row in own:
            at.setdefault(int(row["age"]), (float(row["value"]), row["low"], row["high"]))
        values, low, high = zip(*(at[age] for age in sorted(at)), strict=True)
        curves.append(
            StalenessCurve(from_round=key[0], recipe=key[1], cohort=key[3], ages=tuple(sorted(at)), values=values, low=low, high=high)
        )
    return tuple(curves)


def draw_staleness(figure: Any, curves: Sequence[StalenessCurve], colours: Sequence[str]) -> None:
    """One colour a round; trained queries in full lines, the control in dashed ones, with intervals.

    Args:
        figure: an empty ``matplotlib.figure.Figure``.
        curves: what to draw.
        colours: in turn for the rounds.
    """
    width, height = figure.get_size_inches()
    below = 0.62 + 0.22 * -(-len(curves) // 2)  # inches for the axis' name and the legend
    axes = figure.add_axes((0.62 / width, below / height, 1 - 0.77 / width, 1 - (below + 0.15) / height))
    rounds = sorted({(curve.from_round, curve.recipe) for curve in curves})
    several = len({recipe for _, recipe in rounds}) > 1
    for curve in curves:
        colour = colours[rounds.index((curve.from_round, curve.recipe)) % len(colours)]
        control = curve.cohort == "control"
        named = f"round {curve.from_round}" + (f", {curve.recipe}" if several else "") + (", control" if control else "")
        style: Any = (0, (4, 3)) if control else "solid"
        axes.plot(curve.ages, curve.values, color=colour, linestyle=style, marker="o", markersize=4.5, linewidth=1.6, label=named)
        for age, low, high in zip(curve.ages, curve.low, curve.high, strict=True):
            if low is not None and high is not None:
                axes.plot([age, age], [low, high], color=colour, linewidth=2.2, alpha=0.35, solid_capstyle="round")
    ages = sorted({age for curve in curves for age in curve.ages})
    axes.set_xticks(ages)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("trainings since the negatives were mined")
    axes.set_ylabel("loss share that is left")
    corner = (0.0, -0.5 / (height - below - 0.15))
    axes.legend(loc="upper left", bbox_to_anchor=corner, ncols=2, frameon=False, fontsize=9, borderaxespad=0.0, labelspacing=0.3)
