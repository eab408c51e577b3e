"""Commands that mine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.commands.common import AsJson, Overrides, Root, has_datasets, load, load_many, open_context, out, print_json, progress_listeners

app = typer.Typer()


@app.command(epilog="Example: hardmine quickstart")
def quickstart(root: Root = "./mining", as_json: AsJson = False) -> None:
    """Mine the docstrings of the installed Python packages: the whole pipeline on real text, offline."""
    from flows.quickstart import quickstart_settings

    _mine(quickstart_settings(root), as_json, first_time=True)


@app.command(epilog="Example: hardmine mine run.yaml --set num_negatives=7 --set recipe=rocketqa")
def mine(
    settings: Annotated[Path, typer.Argument(help="The run's settings (run.yaml).")], overrides: Overrides = None, as_json: AsJson = False
) -> None:
    """Mine a round: embed, retrieve, score, select, write training files, publish. With `rounds` or `train`: train on it, and go on.

    With `datasets`: a round of each, and one set of training files over all of them.
    """
    if has_datasets(settings):
        _mine_many(settings, overrides, as_json)
        return
    loaded = load(settings, overrides)
    if loaded.trains:
        _mine_rounds(loaded, as_json)
    else:
        _mine(loaded, as_json)


@app.command(epilog="Example: hardmine ingest run.yaml")
def ingest(
    settings: Annotated[Path, typer.Argument(help="The run's settings (run.yaml).")], overrides: Overrides = None, as_json: AsJson = False
) -> None:
    """Read and check the dataset only; no model runs."""
    from flows.round import prepare_dataset

    loaded = load(settings, overrides)
    with progress_listeners() as progress, open_context(loaded.root, progress) as context:
        dataset = prepare_dataset(context, loaded)
    facts = {
        "dataset": dataset.name,
        "version": dataset.version,
        "documents": dataset.document_count,
        "queries": dataset.query_count,
        "rejected": dataset.rejected,
    }
    if as_json:
        print_json(facts)
    else:
        out.print(
            f"{dataset.name}: {dataset.document_count:,} documents, {dataset.query_count:,} queries, {dataset.rejected:,} rows set aside",
            highlight=False,
        )


def _mine(settings: Any, as_json: bool, first_time: bool = False) -> None:
    from flows.mine import mine as run
    from flows.stored import example_stories
    from flows.summary import print_examples, print_next_steps, print_result
    from flows.versus import print_versus

    with progress_listeners() as progress:
        result = run(settings, progress)
    if as_json:
        print_json(result.model_dump(mode="json"))
        return
    print_result(out, result)
    stories = example_stories(result)
    print_examples(out, stories)
    if first_time and stories:
        print_next_steps(out, result, stories[0].query_id)
    print_versus(out, result)  # the reason to be comes last


def _mine_rounds(settings: Any, as_json: bool) -> None:
    from flows.rounds import run_rounds
    from flows.rounds_summary import print_rounds_result
    from flows.summary import print_result

    with progress_listeners() as progress:
        result = run_rounds(settings, progress)
    if as_json:
        print_json(result.model_dump(mode="json"))
        return
    for one in result.rounds:
        print_result(out, one.mined)
    print_rounds_result(out, result)


def _mine_many(path: Path, overrides: list[str] | None, as_json: bool) -> None:
    from flows.many import mine_many
    from flows.summary import print_result
    from flows.summary_many import print_mixture

    settings = load_many(path, overrides)
    with progress_listeners() as progress:
        result = mine_many(settings, progress)
    if as_json:
        print_json(result.model_dump(mode="json"))
        return
    for one in result.rounds:
        print_result(out, one)
    print_mixture(out, result)
