"""Commands about checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.commands.common import AsJson, Overrides, Root, Round, open_context, out, print_json, progress_listeners

app = typer.Typer()


@app.command(epilog="Example: hardmine train cranfield/1 --set epochs=2 --out ./checkpoint")
def train(
    round_name: Round,
    selection: Annotated[str | None, typer.Option(help="A selection's recipe or id; by default the published one.")] = None,
    overrides: Overrides = None,
    target: Annotated[Path | None, typer.Option("--out", help="A new or empty folder for the checkpoint.")] = None,
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """Fine-tune the round's retriever on its negatives; known and suspected positives are masked in the batch."""
    from flows.configuration import settings_from
    from flows.stored import find_round
    from flows.training import train as run
    from tasks.models.train_settings import TrainSettings

    settings = settings_from(TrainSettings, overrides or [])
    with progress_listeners() as progress:
        context = open_context(root, progress)
        record = find_round(context.storage, round_name)
        found = run(context, record, record.selection(selection), settings, target)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        facts = found.facts
        out.print(f"{facts['steps']:,} steps on {facts['samples']:,} rows of {found.round}, recipe {found.recipe}", highlight=False)
        out.print(f"[bold]checkpoint[/bold] {escape(found.model)}", soft_wrap=True, highlight=False)


@app.command(epilog="Example: hardmine evaluate cranfield/1 --model ./checkpoint --split dev")
def evaluate(
    round_name: Round,
    model: Annotated[str | None, typer.Option(help="The checkpoint; by default the round's own retriever.")] = None,
    split: Annotated[str, typer.Option(help="Queries that none was trained on: dev, test or calibration.")] = "dev",
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """nDCG@10, MRR@10 and Recall@100 of a checkpoint on held-out queries, with intervals."""
    from flows.configuration import validate
    from flows.stored import find_round
    from flows.training import evaluate_checkpoint
    from tasks.evaluate.settings import EvaluateSettings

    settings = validate(EvaluateSettings, {"split": split}, file="--split")
    with progress_listeners() as progress:
        context = open_context(root, progress)
        found = evaluate_checkpoint(context, find_round(context.storage, round_name), model, settings)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    table = Table("measure", "mean", "interval", title=f"{found.queries:,} queries of split {found.split}", title_justify="left")
    for name, values in found.measures.items():
        table.add_row(name, f"{values['mean']:.4f}", f"{values['low']:.4f} – {values['high']:.4f}")
    out.print(table)
