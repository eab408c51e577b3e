"""Commands of the review loop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from flows.commands.common import AsJson, Overrides, Root, Round, open_context, out, print_json, progress_listeners

app = typer.Typer(help="Let people judge what the recipes emitted.", no_args_is_help=True)


@app.command(epilog="Example: hardmine review export cranfield/1 --out review.csv --budget 300")
def export(
    round_name: Round,
    target: Annotated[Path, typer.Option("--out", help="The file to write: .csv or .jsonl.")],
    budget: Annotated[int, typer.Option(min=10, help="Pairs to review.")] = 300,
    recipe: Annotated[list[str] | None, typer.Option(help="Only what these selections emitted; by default all of the round.")] = None,
    evidence: Annotated[bool, typer.Option(help="Show reviewers scores and recipes, too; it biases them.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Another one draws another sample.")] = 0,
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """Draw a stratified sample of the recipes' negatives, with texts, for people to label."""
    from flows.review_sample import export_sample
    from flows.stored import find_round
    from tasks.review.settings import ExportSettings
    from tasks.truth.settings import SamplingSettings

    written: Literal["csv", "jsonl"] = "jsonl" if target.suffix == ".jsonl" else "csv"
    with progress_listeners() as progress, open_context(root, progress) as context:
        record = find_round(context.storage, round_name)
        settings = ExportSettings(format=written, evidence=evidence)
        manifest = export_sample(context, record, recipe or [], target, SamplingSettings(budget=budget), settings, seed)
    if as_json:
        print_json({"file": str(target), "pairs": len(manifest.pairs), "strata": len(manifest.origin.strata)})
    else:
        out.print(
            f"{len(manifest.pairs)} pairs in {escape(str(target))}: fill in the column label with relevant, not or unsure", highlight=False
        )


@app.command("import", epilog="Example: hardmine review import review.csv")
def import_(
    files: Annotated[list[Path], typer.Argument(help="Labelled files of one export; several reviewers give several.")],
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """Take the labels back: the rate of false negatives by recipe with its interval, and labels for the next round.

    A corrected file, imported again, replaces the labels of its pairs.
    """
    from flows.judgement import print_imported
    from flows.review import import_labels

    with progress_listeners() as progress, open_context(root, progress) as context:
        found = import_labels(context, files)
    if as_json:
        print_json(found.as_json())
    else:
        print_imported(out, found)


@app.command(epilog="Example: hardmine review promote cranfield/1 --set per_query=2 --dry-run")
def promote(
    round_name: Round,
    overrides: Overrides = None,
    scores: Annotated[Path | None, typer.Option(help="Scores by a second teacher: query_id, doc_id, score.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be promoted, and keep nothing.")] = False,
    take_back: Annotated[bool, typer.Option("--withdraw", help="Withdraw the promotions from this round instead.")] = False,
    number: Annotated[int | None, typer.Option(min=1, help="With --withdraw: only this promotion.")] = None,
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """Make pseudo-positives labels of the next round, where independent signals agree."""
    from flows.configuration import settings_from
    from flows.judgement import print_promoted
    from flows.promotion import promote_round, withdraw
    from flows.stored import find_round
    from tasks.errors import UsageError
    from tasks.review.second import read_scores
    from tasks.review.settings import PromotionSettings

    if number is not None and not take_back:
        raise UsageError("--number names a promotion to withdraw", "give --withdraw too")
    settings = settings_from(PromotionSettings, overrides or [])
    second = read_scores(scores) if scores else None
    with progress_listeners() as progress, open_context(root, progress) as context:
        record = find_round(context.storage, round_name)
        withdrawn = withdraw(context, record, number) if take_back else []
        found = None if take_back else promote_round(context, record, settings, second, dry_run)
    if found is None:
        if as_json:
            print_json({"withdrawn": [one.number for one in withdrawn], "pairs": sum(one.pairs for one in withdrawn)})
        for one in () if as_json else withdrawn:
            out.print(f"withdrawn: promotion {one.number} of {one.pairs:,} pairs", highlight=False)
    elif as_json:
        print_json(found.as_json())
    else:
        print_promoted(out, found)
