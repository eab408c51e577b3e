"""Commands about checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.commands.common import AsJson, Overrides, Root, Round, load, open_context, out, print_json, progress_listeners, read_judgements

app = typer.Typer()


def refuse_selection(selection: str | None) -> None:
    """A mixture's rows are those of the selections that were mixed.

    Raises:
        UsageError: one is named.
    """
    from tasks.errors import UsageError

    if selection is not None:
        raise UsageError("--selection is for one dataset's round", "leave it out: a mixture has the rows of the recipes it was mined with")


@app.command(epilog="Example: hardmine train cranfield/1 --set epochs=2 --out ./checkpoint")
def train(
    round_name: Annotated[
        str, typer.Argument(help="A round: DATASET/NUMBER, DATASET (its last), or latest; or a mixture of several datasets, by its name.")
    ],
    selection: Annotated[str | None, typer.Option(help="A selection's recipe or id; by default the published one.")] = None,
    overrides: Overrides = None,
    target: Annotated[Path | None, typer.Option("--out", help="A new or empty folder for the checkpoint.")] = None,
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """Fine-tune the round's retriever on its negatives; known and suspected positives are masked in the batch.

    Of a mixture (`datasets` in run.yaml): on its batches, with each dataset's prompts.
    """
    from flows.configuration import settings_from
    from flows.stored import find_round
    from flows.training import train as run
    from flows.training_mixture import is_mixture, train_mixture
    from tasks.audit.build import build_audit
    from tasks.models.train_settings import TrainSettings

    settings = settings_from(TrainSettings, overrides or [])
    with progress_listeners() as progress, open_context(root, progress) as context:
        if is_mixture(context.storage, round_name):
            refuse_selection(selection)
            found = train_mixture(context, round_name, settings, target)
        else:
            record = find_round(context.storage, round_name)
            found = run(context, record, record.selection(selection), settings, target)
        build_audit(context.storage)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        facts = found.facts
        out.print(f"{facts['steps']:,} steps on {facts['samples']:,} rows of {found.round}, recipe {found.recipe}", highlight=False)
        for name in ("teacher", "bm25"):
            if lacking := facts.get(f"pairs_without_{name}"):
                out.print(
                    f"[yellow]note[/yellow] {lacking:,} of {facts['negatives']:,} pairs of positive and negative lack a score of {name} "
                    "and teach nothing by it: mine with a deeper one",
                    highlight=False,
                )
        out.print(f"[bold]checkpoint[/bold] {escape(found.model)}", soft_wrap=True, highlight=False)


@app.command(epilog="Example: hardmine evaluate cranfield/1 --model ./checkpoint --split dev")
def evaluate(
    round_name: Round,
    model: Annotated[str | None, typer.Option(help="The checkpoint; by default the round's own retriever.")] = None,
    split: Annotated[str, typer.Option(help="Queries that none was trained on: dev, test or calibration.")] = "dev",
    qrels: Annotated[Path | None, typer.Option(help="Fuller judgements to measure by, in the place of the dataset's own labels.")] = None,
    reread_test: Annotated[
        bool, typer.Option("--reread-test", help="Measure on test although it was read before; that is counted.")
    ] = False,
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """nDCG@10, MRR@10 and Recall@100 of a checkpoint on held-out queries, with intervals."""
    from flows.configuration import validate
    from flows.stored import find_round
    from flows.training import evaluate_checkpoint
    from tasks.audit.build import build_audit
    from tasks.evaluate.settings import EvaluateSettings

    settings = validate(EvaluateSettings, {"split": split, "reread_test": reread_test}, file="--split")
    with progress_listeners() as progress, open_context(root, progress) as context:
        truth = read_judgements(qrels, None, 1)
        record = find_round(context.storage, round_name)
        found = evaluate_checkpoint(context, record, model, settings, truth.pairs if truth else None)
        build_audit(context.storage)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    table = Table("measure", "mean", "interval", title=f"{found.queries:,} queries of split {found.split}", title_justify="left")
    for name, values in found.measures.items():
        table.add_row(name, f"{values['mean']:.4f}", f"{values['low']:.4f} – {values['high']:.4f}")
    out.print(table)
    if not found.training_known:
        out.print(
            "[yellow]note[/yellow] no training of this model is recorded here: whether it was trained on these queries is not known",
            highlight=False,
        )
    if found.split.lower() == "test" and found.read > 1:
        out.print(
            f"[yellow]note[/yellow] test was read {found.read} times, by models and to compare recipes: who chooses by it reads too much "
            "into it",
            highlight=False,
        )


@app.command(epilog="Example: hardmine train-teacher run.yaml --out ./teacher")
def train_teacher(
    settings: Annotated[Path, typer.Argument(help="The run's settings (run.yaml), with teacher.train.")],
    overrides: Overrides = None,
    target: Annotated[Path | None, typer.Option("--out", help="A new or empty folder for the teacher.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a cross-encoder on the dataset's labels, and measure it on queries that it was not trained on."""
    from flows.teaching import teach
    from tasks.audit.build import build_audit

    loaded = load(settings, overrides)
    with progress_listeners() as progress, open_context(loaded.root, progress) as context:
        found = teach(loaded, context, target)
        build_audit(context.storage)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    facts = found.facts
    line = f"{facts['pairs']:,.0f} pairs"
    if facts["auc_after"] is not None:
        line += f"; AUC on held-out query groups {facts['auc_before']:.3f} before, {facts['auc_after']:.3f} after"
    out.print(line, highlight=False)
    if found.measures:
        table = Table("measure", "teacher", "against the retriever's order", title=f"{found.queries:,} queries of split {found.split}")
        for name, values in found.measures.items():
            gain = found.gain[name]
            table.add_row(name, f"{values['mean']:.4f}", f"{gain['mean']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f})")
        out.print(table)
    for model in found.models:
        out.print(f"[bold]teacher[/bold] {escape(model)}", soft_wrap=True, highlight=False)
