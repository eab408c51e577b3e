"""The tables of a report, as cells of text: what the template prints without any arithmetic of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tasks.compare.results import RecipeOutcome
from tasks.compare.tables import comparison_rows
from tasks.report.data import Calibration, Cost, Estimate, Funnel, Planned, Reviewed, Slice, Value, Yields
from tasks.report.keys import Key
from tasks.report.words import NOTHING, count, interval, line, number, percent, seconds, size, spaced

_BESIDE = 40  # characters of a note that stands in a cell


@dataclass(frozen=True)
class Cell:
    """One cell.

    Args:
        text: what it says.
        note: said after it, fainter.
        bar: a bar of this share of the cell behind it.
        key: a colour before it.
        mark: a word in a box after it.
    """

    text: str
    note: str = ""
    bar: float | None = None
    key: Key | None = None
    mark: str = ""


@dataclass(frozen=True)
class Row:
    """One row; a strong one is what the report is about."""

    cells: tuple[Cell, ...]
    strong: bool = False


@dataclass(frozen=True)
class Head:
    """A heading, of numbers or of words."""

    text: str
    words: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under their headings; ``caption`` is for those who cannot see it, ``notes`` are numbered below."""

    caption: str
    heads: tuple[Head, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def _heads(words: str, numbers: str, more_words: str = "") -> tuple[Head, ...]:
    """Headings from their texts, with commas between them."""
    groups = ((words, True), (numbers, False), (more_words, True))
    return tuple(Head(text.strip(), kind) for texts, kind in groups if texts for text in texts.split(","))


def recipes_table(outcomes: Sequence[RecipeOutcome], own: str, keys: Mapping[str, Key]) -> Table:
    """All recipes, the least leak first; without a leak the least estimate, and then the hardest.

    Args:
        outcomes: of the recipes.
        own: the recipe that the report is about.
        keys: as the plot draws them.
    """
    rows = sorted(comparison_rows(outcomes), key=_order)
    columns = [column for column in _RECIPES if column[1] == "recipe" or any(row[column[1]] is not None for row in rows)]
    made = []
    for row in rows:
        first = Cell(line(row["recipe"], 40), key=keys.get(row["recipe"]), note=_given(row["settings"]))
        made.append(Row((first, *(cell(row) for _, name, cell in columns if name != "recipe")), strong=row["recipe"] == own))
    return Table(
        "Recipes over the same candidates", tuple(Head(head, name in ("recipe", "nearest")) for head, name, _ in columns), tuple(made)
    )


def estimates_table(estimates: Sequence[Estimate], keys: Mapping[str, Key]) -> Table:
    """All estimates, by recipe; long notes are numbered below, each once."""
    below = list(dict.fromkeys(each.note for each in estimates if len(each.note) > _BESIDE))
    rows = [
        Row(
            (
                Cell(line(each.recipe, 40)),
                Cell(line(each.estimator, 60), key=keys.get(each.estimator)),
                Cell(percent(each.rate)),
                Cell(interval(each.low, each.high) or NOTHING),
                Cell(f"({below.index(each.note) + 1})" if each.note in below else line(each.note)),
            )
        )
        for each in estimates
    ]
    table = _without_empty(Table("Estimates", _heads("recipe, estimator", "rate, interval", "note"), tuple(rows)))
    return replace(table, notes=tuple(line(note, 600) for note in below))


def rejections_table(funnel: Funnel) -> Table:
    """Why candidates were rejected, most frequent reason first."""
    total = sum(each.count for each in funnel.rejected) or 1
    rows = [
        Row(
            (
                Cell(each.reason),
                Cell(line(each.meaning, 200)),
                Cell(count(each.count)),
                Cell(percent(each.count / total), bar=each.count / total),
            )
        )
        for each in sorted(funnel.rejected, key=lambda one: (-one.count, one.reason))
    ]
    return _without_empty(
        Table(f"Rejections by {funnel.recipe}", _heads("reason, meaning", "candidates, share of rejections"), tuple(rows))
    )


def calibration_table(found: Calibration) -> Table:
    """How well the probabilities tell, in a few numbers."""
    pairs = sum(each.pairs for each in found.bins)
    named = (
        ("method", line(found.method, 40)),
        ("Brier score", number(found.brier)),
        ("AUC", number(found.auc)),
        ("pairs", count(pairs or None)),
    )
    rows = tuple(Row((Cell(name), Cell(value))) for name, value in named if value not in ("", NOTHING))
    return Table("Calibration", _heads("measure", "value"), rows)


def reviewed_table(found: Sequence[Reviewed]) -> Table:
    """Relevant negatives as the teacher expects them and as a review found them."""
    rows = [
        Row((Cell(line(each.recipe, 40)), Cell(line(each.calibration, 40)), *_numbers(each), Cell(count(each.pairs)))) for each in found
    ]  # fmt: skip
    heads = _heads("recipe, calibrated on", "expected, found, interval, pairs")
    return _without_empty(Table("Relevant negatives, expected by the teacher and found by review", heads, tuple(rows)))


def yields_table(yields: Yields, own: str) -> Table:
    """Queries that got all their negatives."""
    rows = []
    for each in yields.rows:
        share = each.served / each.queries if each.queries else None
        cells = (
            Cell(line(each.recipe, 40)), Cell(spaced(each.stage)), Cell(count(each.queries)), Cell(count(each.served)),
            Cell(percent(share), bar=share), Cell(number(each.negatives_per_query, 2)),
        )  # fmt: skip
        rows.append(Row(cells, strong=each.recipe == own))
    heads = _heads("recipe, stage", "queries, fully served, share, negatives a query")
    return _without_empty(Table("Yield", heads, tuple(rows)))


def slices_table(slices: Sequence[Slice]) -> Table:
    """Every slice with its values, yield and hardness first; small ones are marked."""
    names = sorted(dict.fromkeys(name for each in slices for name in each.values), key=lambda name: name not in ("yield", "hardness"))
    rows = []
    for each in slices:
        values = [_value(each.values.get(name)) for name in names]
        mark = "few queries" if each.small else ""
        rows.append(Row((Cell(spaced(line(each.by, 40))), Cell(line(each.name, 60), mark=mark), Cell(count(each.queries)), *values)))
    return Table("Slices", (*_heads("by, slice", "queries"), *(Head(line(name, 60)) for name in names)), tuple(rows))


def cost_table(stages: Sequence[Cost]) -> Table:
    """What each stage cost, and their sum."""
    rows = [_cost(each) for each in stages]
    spent = [each for each in stages if not each.reused]
    total = Cost(
        stage="this round",
        seconds=sum(each.seconds for each in spent),
        model_calls=sum(each.model_calls for each in spent),
        cache_hits=sum(each.cache_hits for each in stages),
        bytes=sum(each.bytes for each in stages),
    )
    heads = _heads("stage", "computing, model calls, cache hits, written")
    return Table("Cost by stage", heads, (*rows, Row(_cost(total).cells, strong=True)))


def planned_table(stages: Sequence[Planned]) -> Table:
    """What each stage was to take beside what it took; the last is all of them."""
    rows = [
        Row(
            (
                Cell(spaced(each.stage)),
                Cell(NOTHING if each.planned_seconds is None else seconds(each.planned_seconds)),
                Cell(seconds(each.seconds), note=_apart(each.planned_seconds, each.seconds)),
                Cell(count(each.planned_calls)),
                Cell(count(each.model_calls)),
                Cell(NOTHING if each.planned_bytes is None else size(each.planned_bytes)),
                Cell(size(each.bytes)),
            ),
            strong=at == len(stages) - 1,
        )
        for at, each in enumerate(stages)
    ]
    heads = _heads("stage", "computing planned, actual, model calls planned, actual, written planned, actual")
    return Table("Planned and actual, of the run that made the round", heads, tuple(rows))


def values_table(values: Mapping[str, Value]) -> Table:
    """Named values."""
    return Table("Values", _heads("measure", "value"), tuple(Row((Cell(line(name, 80)), _value(value))) for name, value in values.items()))


def _cost(each: Cost) -> Row:
    time = Cell(NOTHING, note="done before") if each.reused else Cell(seconds(each.seconds))
    calls = Cell(NOTHING if each.reused else count(each.model_calls))
    return Row((Cell(spaced(each.stage)), time, calls, Cell(count(each.cache_hits)), Cell(size(each.bytes))))


def _apart(planned: float | None, actual: float) -> str:
    """How far the actual value is from the planned one, as ``+12 %``; nothing for what takes no time."""
    return f"{100 * (actual - planned) / planned:+.0f} %" if planned is not None and planned >= 1 else ""


def _numbers(each: Reviewed) -> tuple[Cell, Cell, Cell]:
    return (
        Cell(number(each.expected, 1)),
        Cell(number(each.reviewed, 1)),
        Cell(f"{number(each.low, 1)} – {number(each.high, 1)}" if each.low is not None and each.high is not None else NOTHING),
    )


def _value(value: Value | None) -> Cell:
    if value is None or value.value is None:
        return Cell(NOTHING)
    text = percent(value.value) if value.share else number(value.value)
    return Cell(text, note=interval(value.low, value.high, value.share))


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    rates = [(row[name] is None, row[name] or 0.0) for name in ("leak", "estimated")]
    return (*rates, -(row["similarity"] or 0.0), row["recipe"])


def _given(settings: Mapping[str, Any]) -> str:
    """What was set; a recipe of the user's own is told by its rules, which are no line."""
    if "rules" in settings:
        return "own rules"
    return line(", ".join(f"{name} = {value}" for name, value in settings.items()), 60)


def _without_empty(table: Table) -> Table:
    """Without columns that say nothing."""
    kept = [at for at in range(len(table.heads)) if at == 0 or any(row.cells[at].text not in ("", NOTHING) for row in table.rows)]
    rows = tuple(Row(tuple(row.cells[at] for at in kept), row.strong) for row in table.rows)
    return Table(table.caption, tuple(table.heads[at] for at in kept), rows)


_Make = Callable[[Mapping[str, Any]], Cell]


def _rate(name: str) -> _Make:
    return lambda row: Cell(percent(row[name]), note=interval(row[f"{name}_low"], row[f"{name}_high"]))


_RECIPES: tuple[tuple[str, str, _Make], ...] = (
    ("recipe", "recipe", lambda row: Cell(row["recipe"])),
    ("false negatives", "leak", _rate("leak")),
    ("by gradient", "leak_gradient", lambda row: Cell(percent(row["leak_gradient"]))),
    ("by the teacher: no count", "estimated", _rate("estimated")),
    ("hardness", "similarity", lambda row: Cell(number(row["similarity"]))),
    ("second encoder", "fixed_similarity", lambda row: Cell(number(row["fixed_similarity"]))),
    ("served", "served", lambda row: Cell(percent(row["served"]))),
    ("per query", "negatives_per_query", lambda row: Cell(number(row["negatives_per_query"], 2))),
    ("backfill", "backfill", lambda row: Cell(percent(row["backfill"]))),
    ("most like", "nearest", lambda row: Cell(row["nearest"] or NOTHING, note=number(row["nearest_jaccard"], 2) if row["nearest"] else "")),
)
