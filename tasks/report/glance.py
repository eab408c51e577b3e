"""The headline figures: what was mined, and how the report's recipe stands beside the baseline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.calibration import ON_LABELS
from tasks.compare.results import Measures, RecipeOutcome
from tasks.report.data import ReportData
from tasks.report.words import count, interval, number, percent


@dataclass(frozen=True)
class Tile:
    """One figure.

    Args:
        name: what it is.
        value: the figure.
        note: its interval, or where it comes from.
        beside: the same of the baseline.
    """

    name: str
    value: str
    note: str = ""
    beside: str = ""


def tiles(data: ReportData) -> list[Tile]:
    """Those that the data can tell."""
    return [*_false_negatives(data), *_measured(data), *_mined(data)]


def _mined(data: ReportData) -> Iterator[Tile]:
    if data.funnels:
        funnel = data.funnels[0]
        share = percent(funnel.negatives / funnel.candidates) if funnel.candidates else ""
        yield Tile("negatives", count(funnel.negatives), note=f"{share} of the candidates" if share else "")
        yield Tile("candidates", count(funnel.candidates))
    for name, value in (("queries", data.facts.queries), ("documents", data.facts.documents)):
        if value is not None:
            yield Tile(name, count(value))


def _false_negatives(data: ReportData) -> Iterator[Tile]:
    """The rate that is best known: measured, else the first estimator's, else the teacher's, which is no count."""
    own, base = _outcome(data, data.facts.recipe), _outcome(data, data.facts.baseline)
    beside = data.facts.baseline
    if own and own.metrics.leak:
        rate, other = own.metrics.leak.total, base.metrics.leak.total if base and base.metrics.leak else None
        note = f"{interval(rate.low, rate.high)}, measured on {count(own.metrics.compared.queries)} queries"
        yield Tile("false negatives", percent(rate.value), note, f"{beside}: {percent(other.value)}" if other else "")
        return
    estimates = {(each.recipe, each.estimator): each for each in data.false_negatives if each.quantity == "false_negatives"}
    for (recipe, estimator), each in estimates.items():
        if recipe == data.facts.recipe and each.rate is not None:
            found = estimates.get((beside, estimator))
            note = ", ".join(filter(None, (interval(each.low, each.high), each.words or f"estimated by {estimator}")))
            yield Tile("false negatives", percent(each.rate), note, f"{beside}: {percent(found.rate)}" if found else "")
            return
    if own and own.metrics.compared.estimated:
        rate, other = own.metrics.compared.estimated, base.metrics.compared.estimated if base else None
        note = f"{interval(rate.low, rate.high)}, by the teacher, {ON_LABELS}"
        yield Tile("false negatives", percent(rate.value), note, f"{beside}: {percent(other.value)}" if other else "")


def _measured(data: ReportData) -> Iterator[Tile]:
    own, base = _outcome(data, data.facts.recipe), _outcome(data, data.facts.baseline)
    if own is None:
        return
    shown, other = own.metrics.compared, base.metrics.compared if base else None
    hardness = _hardness(shown)
    if hardness is not None:
        beside = f"{data.facts.baseline}: {number(_hardness(other))}" if other and other.similarity else ""
        yield Tile("hardness", number(hardness), "mean similarity of the negatives", beside)
    beside = f"{data.facts.baseline}: {percent(other.served)}" if other else ""
    yield Tile("yield", percent(shown.served), "queries with all their negatives", beside)


def _hardness(measures: Measures) -> float | None:
    return measures.similarity.mean if measures.similarity else None


def _outcome(data: ReportData, recipe: str) -> RecipeOutcome | None:
    outcomes = data.comparison.outcomes if data.comparison else ()
    return next((each for each in outcomes if each.recipe == recipe), None) if recipe else None
