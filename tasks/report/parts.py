"""The sections of a report, one function each; a section without data is one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import yaml

from tasks.compare.families import LEAK_WORDS, Leak, families
from tasks.compare.plot import LeakPlot
from tasks.compare.yields import YieldCurve
from tasks.report import figures, tables
from tasks.report.cards import Card, example_cards, hub_cards
from tasks.report.data import Comparison, Estimate, Funnel, ReportData, Section
from tasks.report.keys import estimator_colours, estimator_keys, group_keys, recipe_keys
from tasks.report.view import Block, Figure, Part
from tasks.report.words import clean, count, line

_ONLY_IF_THERE: tuple[Section, ...] = ("staleness", "zeros")
_QUANTITIES = (
    ("false_negatives", "Share of negatives that are relevant", ""),
    ("survival", "Survival of planted positives", "P(emitted | relevant and retrieved): no rate of negatives by itself."),
    ("in_batch", "In the batch", "Other rows' positives that are relevant: share of pairs, and share of rows with at least one."),
)
_SAME = "Recipes with the same positives in their rows have the same rates; the first of them is shown."
_CROSS = "×"
_CARDS = 5  # shown at once; the others are behind a line

_Blocks = tuple[str, list[Block]]  # a sentence under the title, and the blocks


def parts(data: ReportData) -> list[Part]:
    """All sections in their order; staleness and suspect zeros only where there are some."""
    found = []
    for name, (title, missing, build) in _PARTS.items():
        lead, blocks = build(data)
        if name in _ONLY_IF_THERE and not blocks:
            continue
        why = "" if blocks else data.absent.get(name, missing)
        found.append(Part(name, title, lead if blocks else "", tuple(blocks), why))
    return found


def _funnel(data: ReportData) -> _Blocks:
    blocks = []
    for at, funnel in enumerate(data.funnels):
        figure = Figure(*figures.funnel_figure(f"funnel-{at + 1}", funnel), title="" if at else funnel.recipe)
        blocks.append(Block(figures=(figure,), fold=_folded(funnel) if at else ""))
        if not at and funnel.rejected:
            blocks.append(Block(tables=(tables.rejections_table(funnel),), fold=f"Reasons for {_rejected(funnel)} rejections"))
    return "Each candidate is counted once, under the first reason that applied.", blocks


def _folded(funnel: Funnel) -> str:
    return f"{line(funnel.recipe, 60)}: {count(funnel.negatives)} negatives of {count(funnel.candidates)} candidates"


def _rejected(funnel: Funnel) -> str:
    return count(sum(each.count for each in funnel.rejected))


def _scores(data: ReportData) -> _Blocks:
    drawn = [
        Figure(
            figures.histogram_figure(f"scores-{at + 1}", each),
            title=each.score,
            keys=tuple(group_keys(each)),
            caption=line(each.note, 400),
        )
        for at, each in enumerate(data.scores)
    ]
    return "Each group is scaled to its own size.", [Block(figures=tuple(drawn))] if drawn else []


def _recipes(data: ReportData) -> _Blocks:
    comparison = data.comparison
    if comparison is None or not (comparison.outcomes or comparison.curves or comparison.points):
        return "", []
    plot = _leak_plot(comparison, data.facts.recipe)
    legend = recipe_keys(plot.families, plot.served) if plot else []
    blocks = [_leak_block(plot, comparison)] if plot else [Block(text="No recipe has a false-negative rate, so there is nothing to plot.")]
    if comparison.outcomes:
        by_name = {key.name: key for key in legend}
        blocks.append(Block(tables=(tables.recipes_table(comparison.outcomes, data.facts.recipe, by_name),)))
    if comparison.left_out:
        blocks.append(Block(text="; ".join(f"{name}: {why}" for name, why in comparison.left_out.items()), fold="Recipes left out"))
    return line(comparison.note, 600), blocks


def _leak_plot(comparison: Comparison, own: str) -> LeakPlot | None:
    """The measured rate, or else the estimated one."""
    kinds: tuple[Leak, ...] = ("leak", "estimated")
    for kind in kinds:
        found = families(comparison.curves, comparison.points, leak=kind, highlight=own)
        if found:
            return LeakPlot(tuple(found), leak=kind, served=comparison.served, inline=True)
    return None


def _leak_block(plot: LeakPlot, comparison: Comparison) -> Block:
    caption = (
        "Lower right is better. A line is a recipe over its settings; the large mark is its default, with its interval; a hollow "
        f"mark has backfill among its negatives (share in the legend); what serves fewer than {100 * comparison.served:g} % of the queries "
        "is faint; the dotted steps are the least leak at each hardness."
    )
    title = f"{LEAK_WORDS[plot.leak].removesuffix(' (%)')}, against hardness"
    legend = tuple(recipe_keys(plot.families, plot.served))
    drawn = figures.leak_figure("recipes-1", plot)
    return Block(figures=(Figure(*drawn, title[0].upper() + title[1:], legend, caption),))


def _false_negatives(data: ReportData) -> _Blocks:
    colours = estimator_colours(data.false_negatives)
    legend = {key.name: key for key in estimator_keys(colours)}
    blocks: list[Block] = []
    for quantity, title, caption in _QUANTITIES:
        chosen: Sequence[Estimate] = [each for each in data.false_negatives if each.quantity == quantity]
        every = len(chosen)
        chosen = _distinct(chosen) if quantity == "in_batch" else chosen
        caption += f" {_SAME}" if len(chosen) < every else ""
        drawn = [each for each in chosen if each.rate is not None]
        if drawn:
            shown = tuple(legend[name] for name in dict.fromkeys(each.estimator for each in drawn))
            both = figures.estimates_figure(f"rates-{len(blocks) + 1}", drawn, colours)
            blocks.append(Block(figures=(Figure(*both, title, shown, caption),)))
        if chosen:
            blocks.append(Block(tables=(tables.estimates_table(chosen, legend),)))
    return "", blocks


def _distinct(estimates: Sequence[Estimate]) -> list[Estimate]:
    """Without the recipes that say what another has said: a batch holds the rows' positives, which most recipes share."""
    return list({(each.estimator, each.rate, each.low, each.high): each for each in reversed(estimates)}.values())[::-1]


def _calibration(data: ReportData) -> _Blocks:
    found = data.calibration
    if found is None:
        return "", []
    blocks = [Block(text=line(found.warning, 600))] if found.warning else []
    beside = [tables.calibration_table(found)]
    if found.reviewed:
        beside.append(tables.reviewed_table(found.reviewed))
    drawn: tuple[Figure, ...] = ()
    if found.bins:
        svg = figures.reliability_figure("calibration-1", found.bins)
        drawn = (Figure(svg, title="Reliability", caption="On the dashed line, predictions are what is observed."),)
    return line(found.source, 600), [*blocks, Block(figures=drawn, tables=tuple(beside))]


def _yields(data: ReportData) -> _Blocks:
    found = data.yields
    if found is None:
        return "", []
    blocks = [Block(tables=(tables.yields_table(found, data.facts.recipe),))] if found.rows else []
    drawn = [
        Figure(figures.yield_figure(f"yields-{at + 1}", each, found.chosen), caption=_threshold(each, found.chosen))
        for at, each in enumerate(found.curves)
    ]
    if drawn:
        blocks.append(Block(figures=tuple(drawn)))
    return line(found.note, 600), blocks


def _threshold(each: YieldCurve, chosen: dict[str, float]) -> str:
    words = "Above: false negatives among the negatives that a threshold keeps; below: queries that keep enough."
    return f"{words} Dashed: as advised." if each.column in chosen else words


def _slices(data: ReportData) -> _Blocks:
    lead = "Slices of fewer than 30 queries are marked: lean on none of their figures."
    crossed = [each for each in data.slices if _CROSS in each.by]  # of pairs, not of queries: they have few of the values
    plain = [each for each in data.slices if _CROSS not in each.by]
    return lead, [Block(tables=(tables.slices_table(some),)) for some in (plain, crossed) if some]


def _hardest(data: ReportData) -> _Blocks:
    return "Negatives with the highest similarity to their query.", _card_blocks(example_cards(data.hardest))


def _suspicious(data: ReportData) -> _Blocks:
    return "The likeliest false negatives that are still among the negatives.", _card_blocks(example_cards(data.suspicious))


def _zeros(data: ReportData) -> _Blocks:
    shown = f"; the first {len(data.zeros)}" if data.zero_count > len(data.zeros) else ""
    words = f"{count(data.zero_count)} documents labelled as not relevant rank first, or above every positive of their query{shown}."
    return words, _card_blocks(example_cards(data.zeros))


def _hubs(data: ReportData) -> _Blocks:
    return "Documents that stand in the most training rows as a negative.", _card_blocks(hub_cards(data.hubs))


def _card_blocks(found: tuple[Card, ...]) -> list[Block]:
    blocks = [Block(cards=found[:_CARDS])] if found else []
    if len(found) > _CARDS:
        blocks.append(Block(cards=found[_CARDS:], fold=f"{len(found) - _CARDS} more"))
    return blocks


def _cost(data: ReportData) -> _Blocks:
    if not data.cost:
        return "", []
    figure = Figure(*figures.cost_figure("cost-1", data.cost))
    blocks = [Block(figures=(figure,)), Block(tables=(tables.cost_table(data.cost),))]
    if data.planned:
        blocks.append(Block(tables=(tables.planned_table(data.planned),)))
    return "Seconds of computing are summed over partitions.", blocks


def _staleness(data: ReportData) -> _Blocks:
    found = data.staleness
    if found is None:
        return "", []
    drawn = (Figure(*figures.staleness_figure("staleness-1", found.curves)),) if found.curves else ()
    shown = (tables.values_table(found.values),) if found.values else ()
    return line(found.statement, 600), [Block(figures=drawn, tables=shown)]


def _settings(data: ReportData) -> _Blocks:
    if not data.facts.settings:
        return "", []
    plain = json.loads(json.dumps(data.facts.settings, default=str))
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110)
    return "", [Block(code=clean(text).rstrip(), fold=f"{len(plain)} settings, as YAML")]


_PARTS: dict[Section, tuple[str, str, Callable[[ReportData], _Blocks]]] = {
    "funnel": ("From candidates to negatives", "The selection's counts are not at hand.", _funnel),
    "scores": ("Scores", "No score distributions were taken of this round.", _scores),
    "recipes": (
        "Recipes compared",
        "No other recipe was measured over these candidates: `hardmine compare` does it without running a model.",
        _recipes,
    ),
    "false_negatives": (
        "False negatives",
        "Nothing tells how many negatives are relevant: judged qrels, planted positives, a calibrated teacher or a review would.",
        _false_negatives,
    ),
    "calibration": ("Calibration of the teacher", "The teacher is not calibrated, so its scores are no probabilities.", _calibration),
    "yields": ("Yield", "No yields were counted.", _yields),
    "slices": ("Slices", "No slices were measured.", _slices),
    "hardest": ("Hardest negatives", "No examples were taken.", _hardest),
    "suspicious": (
        "Most suspicious negatives",
        "No negative was singled out: without a teacher or label evidence none is more suspicious than another.",
        _suspicious,
    ),
    "zeros": ("Suspect zeros", "", _zeros),
    "hubs": ("Documents used most", "Uses of documents were not counted.", _hubs),
    "cost": ("Cost", "The stages' records are not at hand.", _cost),
    "staleness": ("Staleness", "", _staleness),
    "settings": ("Settings", "The round's settings were not recorded.", _settings),
}
