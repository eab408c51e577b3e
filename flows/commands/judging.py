"""Commands in which language models judge and write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.commands.common import AsJson, Overrides, Root, Round, open_context, out, print_json, progress_listeners

app = typer.Typer()


@contextmanager
def exporting() -> Iterator[None]:
    """Where prompts are written to a file instead of being asked, the command ends with saying so."""
    from tasks.remote.batch import Exported

    try:
        yield
    except Exported as exported:
        told = f"{exported.prompts:,} prompts in {escape(str(exported.path))}: import their answers with hardmine answers"
        out.print(told, highlight=False)
        raise typer.Exit(0) from None


@app.command(epilog="Example: hardmine answers batch_output.jsonl")
def answers(
    files: Annotated[list[Path], typer.Argument(help="Output files of batches whose prompts were exported from this root.")],
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """Import the answers to exported prompts. The command that exported them goes on with these when it runs again."""
    from flows.forms import FORMS
    from tasks.audit.asks import keep_import
    from tasks.audit.build import build_audit
    from tasks.remote.batch import import_answers

    with progress_listeners() as progress, open_context(root, progress) as context:
        found = import_answers(context.storage, files, FORMS)
        for record, kept in found.kept:
            keep_import(context.storage, record, kept)
        if found.kept:
            build_audit(context.storage)
    if as_json:
        told = {name: value for name, value in vars(found).items() if name != "kept"}
        print_json({**told, "aside": list(found.aside)})
        return
    counts = ", ".join(f"{count:,} {status}" for status, count in found.by_status.items())
    out.print(f"{found.answers:,} answers kept ({counts or 'none'}), {found.known:,} known, {found.left:,} failed there", highlight=False)
    if found.why_left:
        out.print(f"[yellow]note[/yellow] the first of those that failed: {escape(found.why_left)}", highlight=False)
    for line in found.aside[:10]:
        out.print(f"[yellow]set aside[/yellow] {escape(line)}", highlight=False)
    if len(found.aside) > 10:
        out.print(f"… and {len(found.aside) - 10} more", highlight=False)


@app.command(epilog="Example: hardmine judge cranfield/1 judge.yaml --recipe top --set budget.money=5")
def judge(
    round_name: Round,
    settings: Annotated[
        Path | None, typer.Argument(help="Settings of the judging (judge.yaml); by default the round's own `judge`.")
    ] = None,
    overrides: Overrides = None,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe's name, its settings as YAML, or a YAML file; by default the published one.")
    ] = None,
    queries: Annotated[Path | None, typer.Option(help="Judge only these queries' negatives: a file of ids, one a line.")] = None,
    export: Annotated[Path | None, typer.Option(help="Ask nothing: write the open prompts to this file, in the batch format.")] = None,
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """Let language models judge a recipe's negatives (RLHN), and select anew with what they said: recipe NAME-judged."""
    from flows.configuration import load_recipe, load_settings, settings_from
    from flows.judge_round import judge_round, read_ids
    from flows.judgement import print_judged
    from flows.stored import find_round, stored_settings
    from tasks.judge.settings import JudgeSettings

    with progress_listeners() as progress, open_context(root, progress) as context:
        record = find_round(context.storage, round_name)
        chosen = stored_settings(record).judge
        if settings is not None:
            chosen = load_settings(JudgeSettings, settings, overrides or [])
        elif chosen is None or overrides:
            chosen = settings_from(JudgeSettings, overrides or [])
        with exporting():
            found = judge_round(context, record, load_recipe(recipe) if recipe else None, chosen, read_ids(queries), export)
    if as_json:
        print_json(found.as_json())
    else:
        print_judged(out, found)
