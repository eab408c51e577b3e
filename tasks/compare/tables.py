"""Rows of a comparison, for JSON and for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tasks.compare.results import Rate, RecipeOutcome, Spread

Row = dict[str, Any]


def comparison_rows(outcomes: Sequence[RecipeOutcome]) -> list[Row]:
    """One flat row a recipe, in the given order; what is not known is None.

    All measures are over the judged queries where there is a truth (``queries`` says how many), else over all.
    """
    return [_row(outcome) for outcome in outcomes]


def _row(outcome: RecipeOutcome) -> Row:
    shown, leak = outcome.metrics.compared, outcome.metrics.leak
    nearest = max(outcome.overlap, key=lambda name: outcome.overlap[name].jaccard, default=None)
    return {
        "recipe": outcome.recipe,
        "settings": outcome.settings,
        "judged": outcome.metrics.judged is not None,
        "queries": shown.queries,
        "served": shown.served,
        "partly_served": shown.partly_served,
        "negatives": shown.negatives,
        "negatives_per_query": shown.negatives_per_query,
        "drawn_as_relevant": shown.drawn_as_relevant,
        "backfill": shown.backfill,
        **_spread("similarity", shown.similarity),
        **_spread("fixed_similarity", shown.fixed_similarity),
        **_spread("teacher_logit", shown.teacher_logit),
        **_spread("teacher_sigmoid", shown.teacher_sigmoid),
        **_spread("rank", shown.rank),
        **_rate("leak", leak.total if leak else None),
        **_rate("leak_chosen", leak.chosen if leak else None),
        **_rate("leak_backfill", leak.backfill if leak else None),
        **_rate("leak_weighted", leak.weighted if leak else None),
        **_rate("leak_gradient", leak.gradient if leak else None),
        "leak_by_draw": {name: draw.model_dump() for name, draw in leak.by_draw.items()} if leak else None,
        **_rate("estimated", shown.estimated),
        **_rate("estimated_weighted", shown.weighted_estimated),
        "overlap": {name: other.model_dump() for name, other in outcome.overlap.items()},
        "nearest": nearest,
        "nearest_jaccard": outcome.overlap[nearest].jaccard if nearest else None,
        "seconds": outcome.seconds,
    }


def _spread(name: str, spread: Spread | None) -> Row:
    return {name: spread.mean if spread else None, f"{name}_std": spread.std if spread else None}


def _rate(name: str, rate: Rate | None) -> Row:
    return {name: rate.value if rate else None, f"{name}_low": rate.low if rate else None, f"{name}_high": rate.high if rate else None}


def _percent(value: float) -> str:
    return f"{value:.1%}".replace("%", " %")


def _three(value: float) -> str:
    return f"{value:.3f}"


def _seconds(value: float) -> str:
    return f"{value:.1f}"


_TERMINAL: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("recipe", "recipe", str),
    ("leak", "leak", _percent),
    ("interval", "interval", str),
    ("leak_gradient", "gradient leak", _percent),
    ("estimated", "teacher (no count)", _percent),
    ("similarity", "hardness", _three),
    ("similarity_std", "±", _three),
    ("fixed_similarity", "fixed encoder", _three),
    ("teacher_sigmoid", "teacher", _three),
    ("served", "served", _percent),
    ("negatives_per_query", "per query", lambda value: f"{value:.2f}"),
    ("backfill", "backfill", _percent),
    ("nearest", "most like", str),
    ("seconds", "seconds", _seconds),
)


def terminal_rows(outcomes: Sequence[RecipeOutcome]) -> list[dict[str, str]]:
    """The same in words: heading → text, without columns that no recipe has a value for.

    >>> terminal_rows([])
    []
    """
    rows = comparison_rows(outcomes)
    for row in rows:
        known = row["leak"] is not None
        row["interval"] = f"{100 * row['leak_low']:.1f} – {100 * row['leak_high']:.1f}" if known else None
        row["nearest"] = f"{row['nearest']} ({row['nearest_jaccard']:.2f})" if row["nearest"] else None
    shown = [column for column in _TERMINAL if any(row[column[0]] is not None for row in rows)]
    return [{heading: "" if row[name] is None else text(row[name]) for name, heading, text in shown} for row in rows]
