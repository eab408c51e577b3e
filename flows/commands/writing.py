"""Commands in which language models write: always marked as synthetic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.commands.common import AsJson, Overrides, Root, Round, open_context, out, print_json, progress_listeners
from flows.commands.judging import exporting

app = typer.Typer(help="Let a language model write negatives or queries.", no_args_is_help=True)


@app.command(epilog="Example: hardmine write negatives cranfield/1 write.yaml --set budget.money=5")
def negatives(
    round_name: Round,
    settings: Annotated[Path, typer.Argument(help="Settings of the writing (write.yaml).")],
    overrides: Overrides = None,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe's name, its settings as YAML, or a YAML file; by default the published one.")
    ] = None,
    export: Annotated[Path | None, typer.Option(help="Ask nothing: write the open prompts to this file, in the batch format.")] = None,
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """Write negatives (SyNeg): a round with a source `synthetic` more, and the recipe NAME-written over it."""
    from flows.configuration import load_recipe, load_settings
    from flows.stored import find_round
    from flows.summary import print_selection
    from flows.writing import write_negatives
    from tasks.write.settings import WriteSettings

    chosen = load_settings(WriteSettings, settings, overrides or [])
    with progress_listeners() as progress, open_context(root, progress) as context, exporting():
        found = write_negatives(context, find_round(context.storage, round_name), load_recipe(recipe) if recipe else None, chosen, export)
    if as_json:
        print_json(found.as_json())
        return
    for note in found.notes:
        out.print(f"[yellow]note[/yellow] {escape(note)}", highlight=False)
    print_selection(out, found.round, found.selected.result)


@app.command(epilog="Example: hardmine write queries run.yaml queries.yaml --out ./synthetic")
def queries(
    run: Annotated[Path, typer.Argument(help="A run's settings (run.yaml): whose documents, and the retriever of the round trip.")],
    settings: Annotated[Path, typer.Argument(help="Settings of the writing (queries.yaml).")],
    target: Annotated[Path, typer.Option("--out", help="A new or empty folder.")],
    overrides: Overrides = None,
    export: Annotated[Path | None, typer.Option(help="Ask nothing: write the open prompts to this file, in the batch format.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write queries for documents, kept where retrieval leads back to them: a BEIR folder of its own."""
    from flows.commands.common import load
    from flows.configuration import load_settings
    from flows.query_writing import write_queries
    from tasks.write.queries import QueryWriteSettings

    loaded, chosen = load(run, None), load_settings(QueryWriteSettings, settings, overrides or [])
    with progress_listeners() as progress, open_context(loaded.root, progress) as context, exporting():
        found = write_queries(context, loaded, chosen, target, export)
    if as_json:
        print_json(found.as_json())
        return
    told = ", ".join(f"{count:,} {status}" for status, count in found.queries.items())
    out.print(f"{found.answered:,} of {found.documents:,} documents answered; queries: {told}; in {escape(str(target))}", highlight=False)
    if found.stopped:
        out.print(f"[yellow]note[/yellow] ended early: {escape(found.stopped)}; the same command goes on", highlight=False)
