"""Commands about rounds that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.commands.common import AsJson, Root, Round, open_context, out, print_json, progress_listeners

app = typer.Typer()


@app.command(epilog="Example: hardmine select cranfield/1 --recipe nv-retriever --format n-tuple")
def select(
    round_name: Round,
    recipe: Annotated[str, typer.Option(help="A recipe's name, its settings as YAML, or a YAML file.")],
    num_negatives: Annotated[int | None, typer.Option(min=1, help="Negatives a query; by default the round's.")] = None,
    formats: Annotated[list[str] | None, typer.Option("--format", help="Training formats; by default the round's.")] = None,
    truncate: Annotated[bool, typer.Option(help="Select even if the round is shallower than the recipe needs.")] = False,
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """Apply another recipe to a round that is there: no model runs."""
    from flows.again import select_again
    from flows.configuration import load_recipe
    from flows.stored import find_round
    from flows.summary import print_selection

    with progress_listeners() as progress, open_context(root, progress) as context:
        record = find_round(context.storage, round_name)
        record, selected = select_again(context, record, load_recipe(recipe), num_negatives, formats or [], truncate)
    if as_json:
        print_json({"round": f"{record.dataset}/{record.number}", **selected.result.model_dump(mode="json")})
    else:
        print_selection(out, f"{record.dataset}/{record.number}", selected.result)


@app.command(epilog="Example: hardmine export cranfield/1 --format flagembedding --out ./negatives")
def export(
    round_name: Round,
    format_name: Annotated[str, typer.Option("--format", help="A training format.")],
    target: Annotated[Path, typer.Option("--out", help="A new or empty folder.")],
    selection: Annotated[str | None, typer.Option(help="A selection's recipe or id; by default the published one.")] = None,
    prompt: Annotated[str | None, typer.Option(help="FlagEmbedding's prompt; by default the round's.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="FlagEmbedding's type; by default the round's.")] = None,
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """Write one training format of one round into a folder."""
    from flows.again import check_export, export_round
    from flows.stored import find_round

    changes = check_export(format_name, target, prompt, kind)
    with progress_listeners() as progress, open_context(root, progress, writes=False) as context:
        record = find_round(context.storage, round_name)
        written = export_round(context, record, record.selection(selection), format_name, target, changes)
    if as_json:
        print_json({"round": f"{record.dataset}/{record.number}", "format": format_name, "files": [str(path) for path in written]})
    else:
        out.print(f"{len(written)} files in {escape(str(target))}", highlight=False)


@app.command(epilog="Example: hardmine push cranfield/1 --to my-team/cranfield-negatives --license cc-by-4.0 --language en")
def push(
    round_name: Round,
    license_id: Annotated[str, typer.Option("--license", help="Of the texts, as the hub calls it: cc-by-4.0, apache-2.0, other.")],
    to: Annotated[str | None, typer.Option(help="A dataset repository of the Hugging Face hub: OWNER/NAME.")] = None,
    target: Annotated[
        Path | None, typer.Option("--out", help="A new folder for what is pushed; without --to nothing leaves this machine.")
    ] = None,
    formats: Annotated[list[str] | None, typer.Option("--format", help="Training formats; by default the round's.")] = None,
    license_name: Annotated[str | None, typer.Option(help="With --license other: its name.")] = None,
    license_link: Annotated[str | None, typer.Option(help="With --license other: where it stands.")] = None,
    languages: Annotated[list[str] | None, typer.Option("--language", help="Of the texts, ISO 639 codes.")] = None,
    private: Annotated[bool, typer.Option(help="Make a new repository private.")] = False,
    selection: Annotated[str | None, typer.Option(help="A selection's recipe or id; by default the published one.")] = None,
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """Publish a round's training files as a dataset repository, with a card that says how they were mined."""
    from flows.push_card import Licence
    from flows.pushing import check_formats, check_push, pushed_folder, write_folder
    from flows.stored import find_round

    licence, spoken = Licence(license_id, license_name, license_link), languages or []
    hub = check_push(to, target, formats or [], spoken)
    with progress_listeners() as progress, open_context(root, progress) as context, pushed_folder(target) as folder:
        record = find_round(context.storage, round_name)
        chosen = record.selection(selection)
        wanted = formats or list(chosen.shards)
        check_formats(wanted)
        files = write_folder(context, record, chosen, wanted, licence, spoken, folder)
        message = f"{record.dataset}, round {record.number}, recipe {chosen.recipe}"
        address = hub.push(folder, private, message) if hub is not None else None
        named = [str(file.relative_to(folder)) for file in files]
    if as_json:
        print_json({"round": f"{record.dataset}/{record.number}", "formats": wanted, "files": named, "pushed": address})
    else:
        out.print(f"{len(named)} files in {escape(str(target))}" if address is None else f"pushed: {escape(address)}", highlight=False)


@app.command(epilog="Example: hardmine rounds")
def rounds(root: Root = "./mining", as_json: AsJson = False) -> None:
    """List the rounds and their selections, and the best checkpoint of each dataset's last loop."""
    from flows.summary import print_rounds
    from tasks.audit.best import read_best
    from tasks.audit.records import list_rounds
    from tasks.store.storage import open_storage

    storage = open_storage(root)
    records = list_rounds(storage)
    found = {name: read_best(storage, name) for name in dict.fromkeys(record.dataset for record in records)}
    best = {name: one for name, one in found.items() if one is not None}
    if as_json:
        held = [(record, best.get(record.dataset)) for record in records]
        told = [(record.model_dump(mode="json", exclude={"stages", "settings"}), one) for record, one in held]
        print_json([{**row, "best": one.model_dump(mode="json") if one else None} for row, one in told])
    else:
        print_rounds(out, records, list(best.values()))


@app.command(epilog="Example: hardmine show 42 --round cranfield/1")
def show(
    query_id: Annotated[str, typer.Argument(help="The query's id.")],
    round_name: Annotated[str, typer.Option("--round", help="DATASET/NUMBER, DATASET, or latest.")] = "latest",
    selection: Annotated[str | None, typer.Option(help="A selection's recipe or id; by default the published one.")] = None,
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """One query: positives, candidates with all scores, decisions and reasons."""
    from flows.stored import find_round
    from flows.summary import print_story
    from tasks.audit.explain import show_query
    from tasks.store.storage import open_storage

    storage = open_storage(root)
    story = show_query(storage, find_round(storage, round_name), query_id, selection)
    if as_json:
        print_json(story.model_dump(mode="json"))
    else:
        print_story(out, story)
