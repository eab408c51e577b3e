"""What a run shows at its end: tables for people, one line of JSON for machines."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table

from flows.planning.outlays import print_outlays
from flows.rates import has_plain, rate, shown, zero_notes
from flows.results import MineResult, SelectionResult, split_notes
from flows.staleness_bars import print_staleness
from tasks.audit.best import Best
from tasks.audit.explain import CandidateStory, QueryStory
from tasks.audit.records import RoundRecord
from tasks.select.compose import decisions_sql
from tasks.select.published import Published
from tasks.select.recipe import Facts
from tasks.select.registry import compose_recipe, recipe_class, recipe_names

REASONS = {
    "labelled": "labelled, below positive_min_grade",
    "duplicate": "copy of a positive or of the query",
    "near_duplicate": "near copy of a positive (word shingles)",
    "near_duplicate_cosine": "near copy of a positive (fixed encoder)",
    "teacher_ceiling": "the teacher calls it likely relevant",
    "unscored": "outside the teacher's depth",
    "relative_margin": "too close to the positive's score",
    "absolute_margin": "too close to the positive's score",
    "rank_range": "outside the range of ranks",
    "rank_skip": "among the first ranks",
    "max_score": "score over the limit",
    "min_score": "score under the limit",
    "window": "outside the window around the positive",
    "middle_band": "outside the teacher's middle band",
    "no_positive_score": "the query has no scored positive",
    "judged_relevant": "a judge calls it relevant",
    "likely_relevant": "neighbouring labels and the teacher call it likely relevant",
    "planted": "a positive, hidden as a probe",
    "angle": "too far from the positive's angle",
    "quantile": "outside the query's own quantiles",
    "below_mean": "not under the mean of the query's list",
    "answer_match": "contains an answer",
    "other_cluster": "in the cluster of a positive",
    "same_group": "same parent as a positive",
    "sibling_chunk": "another chunk of a positive's document",
    "other_group": "another parent than the positive's",
    "hub_limit": "already a negative for as many queries as are allowed",
    "same_text": "same text as another candidate",
    "duplicate_cluster_limit": "another near copy of it was taken",
    "group_limit": "enough negatives of its parent",
    "min_tokens": "too short",
    "max_tokens": "too long",
    "language": "of another language than asked for",
    "language_unknown": "its language is not known",
    "copy_of_pseudo_positive": "copy of a pseudo-positive",
}

_COLOURS = {"positive": "green", "pseudo_positive": "green", "negative": "red", "rejected": "yellow", "unscored": "dim", "not_drawn": "dim"}


def print_result(console: Console, result: MineResult) -> None:
    """The round in tables: what was mined, why candidates were rejected, where the files are."""
    chosen = result.selection
    console.print()
    console.print(_mined(result))
    console.print(_rejections(chosen))
    _print_hubs(console, chosen)
    _print_folders(console, chosen)
    print_outlays(console, result.outlays)
    print_staleness(console, result.staleness)
    for note in (*result.notes, *zero_notes(chosen.measures)):
        console.print(f"[yellow]note[/yellow] {escape(note)}", highlight=False)


def print_examples(console: Console, stories: Sequence[QueryStory]) -> None:
    """Training rows with texts and scores: the positives, then the negatives, hardest first."""
    for story in stories:
        lines = [f"[bold]query[/bold]    {_short(story.text)}"]
        lines += [f"[green]positive[/green] {_scores(one)} {_short(one.text)}" for one in story.positives]
        lines += [f"[red]negative[/red] {_scores(one)} {_short(one.text)}" for one in negatives(story)]
        console.print(Panel("\n".join(lines), title=f"query {escape(story.query_id)}", title_align="left"))


def print_story(console: Console, story: QueryStory) -> None:
    """One query: its positives, and every candidate with scores, decision and reasons."""
    console.print(
        Panel(
            escape(story.text), title=f"query {escape(story.query_id)} · round {story.round} · {escape(story.recipe)}", title_align="left"
        )
    )
    table = Table("document", "decision", "reasons", "dense", "bm25", "teacher", "text")
    for one in [*story.positives, *story.candidates]:
        decision = one.decisions[0] if one.decisions else None
        kind = decision.decision if decision else "-"
        table.add_row(
            escape(one.doc_id),
            f"[{_COLOURS.get(kind, 'white')}]{kind}[/]",
            escape(", ".join(decision.reasons) or (decision.reason or "")) if decision else "",
            _ranked(one, "dense"),
            _ranked(one, "bm25"),
            _number(one.scores.get("teacher_sigmoid")),
            _short(one.text, 60),
        )
    console.print(table)


def negatives(story: QueryStory) -> list[CandidateStory]:
    """The candidates that became negatives, in the order of their slots."""
    found = [(one.decisions[0].slot or 0, one) for one in story.candidates if one.decisions and one.decisions[0].decision == "negative"]
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def print_selection(console: Console, name: str, selection: SelectionResult) -> None:
    """One recipe's outcome over a round that was there."""
    table = Table(title=f"Round {name}, recipe {selection.recipe}", title_justify="left", show_header=False)
    for decision, count in selection.decisions.items():
        table.add_row(decision, f"{count:,}")
    for number, count in selection.negatives_per_row.items():
        table.add_row(f"training rows with {number} negatives", f"{count:,}")
    _add_rates(table, selection)
    console.print(table)
    console.print(_rejections(selection))
    _print_hubs(console, selection)
    _print_folders(console, selection)
    for note in (*split_notes(selection), *zero_notes(selection.measures)):
        console.print(f"[yellow]note[/yellow] {escape(note)}", highlight=False)


def print_rounds(console: Console, records: Sequence[RoundRecord], best: Sequence[Best] = ()) -> None:
    """All rounds with their selections; the published one of each is marked. ``best``: of each dataset that a loop trained on."""
    if not records:
        console.print("no round yet: `hardmine mine run.yaml` or `hardmine quickstart`")
        return
    table = Table("round", "created", "recipe", "selection", "formats", "gate")
    for record in records:
        for one in record.selections:
            published = "*" if one.selection_id == record.selection_id else ""
            table.add_row(
                f"{record.dataset}/{record.number}",
                record.created,
                f"{one.recipe}{published}",
                one.selection_id[:12],
                ", ".join(one.shards),
                "passed" if one.gate.get("passed") else "failed",
            )
    console.print(table)
    for found in best:
        came = f"trained on {found.dataset}/{found.round}" if found.round else "the loop began with it"
        reached = f"{found.measure} {found.value:.4f} on {found.split}; {came}"
        console.print(f"[bold]best of {found.dataset}[/bold] {escape(found.path)} ({reached})", soft_wrap=True, highlight=False)


def print_recipes(console: Console) -> None:
    """One line a recipe."""
    table = Table("recipe", "what it does", "source", "read in")
    for name in recipe_names():
        recipe = recipe_class(name)
        table.add_row(name, _summary(recipe), recipe.paper, recipe.certainty)
    console.print(table)


def print_recipe(console: Console, name: str) -> None:
    """A recipe's settings and the SQL of its decisions."""
    recipe = recipe_class(name)
    console.print(Panel(escape(inspect.getdoc(recipe) or ""), title=name, subtitle=f"{escape(recipe.paper)} ({recipe.certainty})"))
    table = Table("setting", "default", "meaning")
    for setting, field in recipe.model_fields.items():
        if setting != "name":
            table.add_row(setting, escape(str(field.default)), escape(field.description or ""))
    console.print(table)
    _print_sql(console, name)


def print_free_recipe(console: Console, wanted: dict[str, Any]) -> None:
    """A recipe of the user's: its settings as composed, and the SQL of its decisions."""
    composed = compose_recipe(wanted, _EXAMPLE)
    console.print(Syntax(yaml.safe_dump(composed.model_dump(mode="json", exclude_defaults=True), sort_keys=False), "yaml", word_wrap=True))
    _print_sql(console, wanted)


_EXAMPLE = Facts(num_negatives=5, max_positives=1)


def _print_sql(console: Console, wanted: str | dict[str, Any]) -> None:
    composed = compose_recipe(wanted, _EXAMPLE)
    for stage in composed.stages:
        console.print(Syntax(decisions_sql(composed, stage, ["dense_score"], "<selection>"), "sql", word_wrap=True))


def print_next_steps(console: Console, result: MineResult, query_id: str) -> None:
    """Three commands to try."""
    console.print("\n[bold]Next[/bold]")
    root = "" if Path(result.root) == Path("mining").resolve() else f" --root {shlex.quote(result.root)}"
    for command in (
        'hardmine sql "SELECT recipe, reason, first_count FROM rejections_by_reason"',
        f"hardmine select {result.round} --recipe nv-retriever",
        f"hardmine show {shlex.quote(query_id)}",
    ):
        console.print(f"  {escape(command + root)}", highlight=False, soft_wrap=True)
    console.print()


def _mined(result: MineResult) -> Table:
    chosen = result.selection
    table = Table(title=f"Round {result.round}, recipe {chosen.recipe}", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    rows = sum(chosen.negatives_per_row.values())
    for name, value in (
        ("documents", result.documents),
        ("queries", result.queries),
        ("input rows set aside", result.rejected_input),
        ("candidates", sum(chosen.decisions.values())),
        *((f"  {decision}", count) for decision, count in chosen.decisions.items()),
        ("training rows", rows),
        *((f"  with {number} negatives", count) for number, count in chosen.negatives_per_row.items()),
        ("model calls in this run", sum(stage.model_calls for stage in result.stages)),
    ):
        table.add_row(name, f"{value:,}")
    for name, value in result.facts.items():
        table.add_row(f"teacher: {name.replace('_', ' ')}", f"{value:.3f}" if isinstance(value, float) else f"{value:,}")
    if not has_plain(result):
        _add_rates(table, chosen)
    return table


def _add_rates(table: Table, selection: SelectionResult) -> None:
    """What is known of the selection's false negatives."""
    for name, words in shown(selection.measures).items():
        table.add_row(words, rate(selection.measures, name))


def _rejections(selection: SelectionResult) -> Table:
    table = Table("why candidates were rejected", "reason", "candidates", title_justify="left")
    table.columns[2].justify = "right"
    for reason, count in selection.reasons.items():
        table.add_row(REASONS.get(reason, reason.replace("_", " ")), reason, f"{count:,}")
    return table


def _print_hubs(console: Console, selection: SelectionResult) -> None:
    """The negatives that most queries share: a document that is everywhere teaches little and may be pushed from everyone."""
    named = ", ".join(f"{escape(document)} ({queries:,})" for document, queries in selection.hubs)
    if named:
        console.print(f"[bold]most used negatives[/bold] (queries) {named}", highlight=False)


def _scores(one: CandidateStory) -> str:
    teacher = one.scores.get("teacher_sigmoid")
    return (
        f"[cyan]dense {_number(one.scores.get('dense_score'))}"
        + (f" teacher {_number(teacher)}" if teacher is not None else "")
        + "[/cyan]"
    )


def _ranked(one: CandidateStory, source: str) -> str:
    rank = one.scores.get(f"{source}_rank")
    return f"{_number(one.scores.get(f'{source}_score'))}" + (f" #{rank}" if rank is not None else "")


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else ""


def _print_folders(console: Console, selection: SelectionResult) -> None:
    for name, folder in selection.shards.items():
        console.print(f"[bold]{name}[/bold] {escape(folder)}", soft_wrap=True, highlight=False)


def _summary(recipe: type[Published]) -> str:
    return (inspect.getdoc(recipe) or "").splitlines()[0]


def _short(text: str, width: int = 110) -> str:
    line = " ".join(text.split())
    return escape(line if len(line) <= width else line[: width - 1] + "…")
