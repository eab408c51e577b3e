"""How reviews and promotions look in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.judge_round import JudgedRound
from flows.promotion import Promoted
from flows.review import Imported, ReviewedRate

_SHOWN = 10
_REFUSED = {
    "labelled": "have a label already",
    "promoted": "were promoted before",
    "protected": "belong to queries that calibrate, choose or test",
    "contradicted": "were called not relevant by a reviewer",
    "few_signals": "have too few signals",
    "same_labels": "have signals from the labels alone: a review or a second teacher must agree (--set beyond_labels=false asks for none)",
    "over_cap": "are over the cap of their query",
}


def print_judged(console: Console, found: JudgedRound) -> None:
    """What judges said, how far they agree with each other, the teacher and reviewers, and what the recipe selects now."""
    from flows.summary import print_selection

    for note in found.notes:
        console.print(f"[yellow]note[/yellow] {escape(note)}", highlight=False)
    if found.judged.agreement:
        table = Table("", "", "pairs", "agree", "kappa", title="Agreement", title_justify="left")
        for one in found.judged.agreement:
            table.add_row(one.first, one.second, f"{one.pairs:,}", f"{one.share:.1%}", "" if one.kappa is None else f"{one.kappa:.2f}")
        console.print(table)
    if found.promoted:
        console.print(f"{found.promoted:,} relabelled pairs are labels of the next rounds", highlight=False)
    print_selection(console, found.round, found.selected.result)


def print_imported(console: Console, found: Imported) -> None:
    """What was read, what was set aside, and the rate of false negatives of each recipe."""
    answers = found.answers
    console.print(
        f"{len(answers.answers):,} labels read, {len(answers.aside):,} rows set aside, {answers.unreviewed:,} pairs without a label",
        highlight=False,
    )
    for aside in answers.aside[:_SHOWN]:
        console.print(f"[yellow]set aside[/yellow] {escape(str(aside))}", highlight=False)
    if len(answers.aside) > _SHOWN:
        console.print(f"… and {len(answers.aside) - _SHOWN} more", highlight=False)
    if found.rates:
        console.print(_rates(found.rates))
    if found.verdict == "cannot tell":
        told = "by the review the teacher cannot tell relevant from not: do not trust its scores; it is no signal for a promotion"
        console.print(f"[yellow]warning[/yellow] {told}", highlight=False)
    for note in _notes(found):
        console.print(f"[yellow]note[/yellow] {escape(note)}", highlight=False)
    console.print(f"the next round takes {found.positives:,} pairs as positives and {found.zeros:,} as trusted zeros", highlight=False)


def print_promoted(console: Console, found: Promoted) -> None:
    """What was promoted, by which signals, and why the others were not."""
    pairs = found.promotion.promoted
    queries = len(pairs["query_id"].unique())
    what = "would be promoted" if found.dry_run else "promoted"
    name = f" (promotion {found.record.number})" if found.record else ""
    console.print(f"{pairs.num_rows:,} pairs of {queries:,} queries {what}{name}", highlight=False)
    for signals, count in found.by_signals.items():
        console.print(f"  {count:,} by {escape(signals)}", highlight=False)
    for reason, count in found.promotion.counts.items():
        if count:
            console.print(f"  {count:,} not: they {_REFUSED[reason]}", highlight=False)
    for note in found.notes:
        console.print(f"[yellow]note[/yellow] {escape(note)}", highlight=False)
    if found.record:
        console.print(
            f"the next round takes them as positives; hardmine review promote {found.round} --withdraw takes them back", highlight=False
        )


def _rates(rates: list[ReviewedRate]) -> Table:
    table = Table(
        "recipe", "false negatives", "interval", "labels alone", "of emitted", "note", title="By the review", title_justify="left"
    )
    for column in table.columns[1:5]:
        column.justify = "right"
    for one in sorted(rates, key=lambda one: (one.rate, one.recipe)):
        table.add_row(
            escape(one.recipe),
            f"{100 * one.rate:.1f} %",
            f"{100 * one.low:.1f} – {100 * one.high:.1f}",
            f"{100 * one.labels_alone[0]:.1f} %",
            f"{one.emitted:,}",
            escape(one.note),
        )
    return table


def _notes(found: Imported) -> list[str]:
    notes = []
    if found.stale:
        notes.append(
            "the round's candidates are not those that this sample was drawn from: the labels are kept, nothing is measured by them"
        )
        return notes
    notes += [f"{name} was selected anew since this sample was drawn: export a new one to measure what it emits now" for name in found.anew]
    notes += [f"{name} emits pairs that this sample was not drawn from: export a new one" for name in found.outside]
    if found.others:
        notes.append(f"the round has {found.others + 1} reviewed samples: of each recipe the one that says most of it counts")
    return notes
