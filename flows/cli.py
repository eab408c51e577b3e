"""The command line. Exit codes: 0 done, 1 failed, 2 wrong use."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from flows.complaints import complain, unexpected
from tasks.errors import HardmineError

# Quiet by default; whoever sets these keeps what is set.
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

app = typer.Typer(
    help="Hard-negative mining for dense retrieval: score once, select many, explain everything.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
_INTERRUPTED = 130
out = Console()
err = Console(stderr=True)

Root = Annotated[str, typer.Option(envvar="HARDMINE_ROOT", help="Where everything is kept: a folder, or s3://bucket/prefix.")]
AsJson = Annotated[bool, typer.Option("--json", help="End with one line of JSON on standard output.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting: key.sub=value. May be repeated.", metavar="KEY=VALUE")
]
Round = Annotated[str, typer.Argument(help="A round: DATASET/NUMBER, DATASET (its last), or latest.")]


@app.command(epilog="Example: hardmine quickstart")
def quickstart(root: Root = "./mining", as_json: AsJson = False) -> None:
    """Mine the docstrings of the installed Python packages: the whole pipeline on real text, offline."""
    from flows.quickstart import quickstart_settings

    _mine(quickstart_settings(root), as_json, first_time=True)


@app.command(epilog="Example: hardmine mine run.yaml --set num_negatives=7 --set recipe=rocketqa")
def mine(
    settings: Annotated[Path, typer.Argument(help="The run's settings (run.yaml).")], overrides: Overrides = None, as_json: AsJson = False
) -> None:
    """Mine a round: embed, retrieve, score, select, write training files, publish."""
    _mine(_load(settings, overrides), as_json)


@app.command(epilog="Example: hardmine ingest run.yaml")
def ingest(
    settings: Annotated[Path, typer.Argument(help="The run's settings (run.yaml).")], overrides: Overrides = None, as_json: AsJson = False
) -> None:
    """Read and check the dataset only; no model runs."""
    from flows.round import prepare_dataset
    from tasks.runner.inline import InlineExecutor

    loaded = _load(settings, overrides)
    with _progress() as progress:
        dataset = prepare_dataset(_context(loaded.root, progress, InlineExecutor(2)), loaded)
    facts = {
        "dataset": dataset.name,
        "version": dataset.version,
        "documents": dataset.document_count,
        "queries": dataset.query_count,
        "rejected": dataset.rejected,
    }
    if as_json:
        _print_json(facts)
    else:
        out.print(
            f"{dataset.name}: {dataset.document_count:,} documents, {dataset.query_count:,} queries, {dataset.rejected:,} rows set aside",
            highlight=False,
        )


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
    from flows.configuration import load_recipe
    from flows.stored import find_round, select_again
    from flows.summary import print_selection
    from tasks.runner.inline import InlineExecutor

    with _progress() as progress:
        context = _context(root, progress, InlineExecutor(2))
        record = find_round(context.storage, round_name)
        record, selected = select_again(context, record, load_recipe(recipe), num_negatives, formats or [], truncate)
    if as_json:
        _print_json({"round": f"{record.dataset}/{record.number}", **selected.result.model_dump(mode="json")})
    else:
        print_selection(out, f"{record.dataset}/{record.number}", selected.result)


@app.command(epilog="Example: hardmine export cranfield/1 --format flagembedding --out ./negatives")
def export(
    round_name: Round,
    format_name: Annotated[str, typer.Option("--format", help="A training format.")],
    target: Annotated[Path, typer.Option("--out", help="A new or empty folder.")],
    selection: Annotated[str | None, typer.Option(help="A selection's recipe or id; by default the published one.")] = None,
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """Write one training format of one round into a folder."""
    from flows.stored import export_round, find_round
    from tasks.runner.inline import InlineExecutor

    with _progress() as progress:
        context = _context(root, progress, InlineExecutor(2))
        record = find_round(context.storage, round_name)
        written = export_round(context, record, record.selection(selection), format_name, target)
    if as_json:
        _print_json({"round": f"{record.dataset}/{record.number}", "format": format_name, "files": [str(path) for path in written]})
    else:
        out.print(f"{len(written)} files in {escape(str(target))}", highlight=False)


@app.command(epilog='Example: hardmine sql "SELECT * FROM rejections_by_reason" --format csv')
def sql(
    query: Annotated[str | None, typer.Argument(help="One SELECT; without it, an interactive prompt.")] = None,
    output: Annotated[str, typer.Option("--format", help="table, csv, json or parquet.")] = "table",
    target: Annotated[Path | None, typer.Option("--out", help="A file; needed for parquet.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds after which a query is stopped.")] = 60.0,
    root: Root = "./mining",
) -> None:
    """Ask the audit in SQL. It is read only."""
    from flows.query import prompt, write_result
    from tasks.audit.build import latest_audit
    from tasks.sql import query_snapshot
    from tasks.store.storage import open_storage

    snapshot = latest_audit(open_storage(root))
    if query is None:
        prompt(out, snapshot, timeout)
    else:
        write_result(out, query_snapshot(snapshot, query, timeout=timeout), output, target)


@app.command(epilog="Example: hardmine rounds")
def rounds(root: Root = "./mining", as_json: AsJson = False) -> None:
    """List the rounds and their selections."""
    from flows.summary import print_rounds
    from tasks.audit.records import list_rounds
    from tasks.store.storage import open_storage

    records = list_rounds(open_storage(root))
    if as_json:
        _print_json([record.model_dump(mode="json", exclude={"stages", "settings"}) for record in records])
    else:
        print_rounds(out, records)


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
        _print_json(story.model_dump(mode="json"))
    else:
        print_story(out, story)


@app.command(epilog="Example: hardmine recipes rocketqa")
def recipes(name: Annotated[str | None, typer.Argument(help="One recipe: its settings, rules and source.")] = None) -> None:
    """List the recipes, or explain one."""
    from flows.summary import print_recipe, print_recipes

    if name is None:
        print_recipes(out)
    else:
        print_recipe(out, name)


@app.command(epilog="Example: hardmine doctor --root s3://bucket/mining")
def doctor(root: Root = "./mining", as_json: AsJson = False) -> None:
    """What is installed, which devices and CPU features are used, whether the storage root works."""
    from flows.doctor import examine, print_findings

    findings = examine(root)
    if as_json:
        _print_json([finding.model_dump() for finding in findings])
    else:
        print_findings(out, findings)
    if any(finding.state == "failed" for finding in findings):
        raise typer.Exit(1)


def main() -> None:
    """Entry point: errors become one message and an exit code, Ctrl-C a clean stop."""
    try:
        code = app(standalone_mode=False)
    except HardmineError as error:
        complain(err, error)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except Exception as error:
        if hasattr(error, "format_message"):  # wrong use, as Typer's parser sees it
            err.print(f"[red]error[/red] {escape(error.format_message())}", highlight=False)
            sys.exit(2)
        unexpected(err, error)
        sys.exit(1)
    if code == _INTERRUPTED:
        err.print("stopped; run the same command again: finished partitions are kept", style="yellow")
        sys.stdout.flush()
        os._exit(_INTERRUPTED)  # all is closed by now; what libraries still wait for at exit would only delay the prompt
    sys.exit(code if isinstance(code, int) else 0)


def _mine(settings: Any, as_json: bool, first_time: bool = False) -> None:
    from flows.mine import mine as run
    from flows.stored import example_stories
    from flows.summary import print_examples, print_next_steps, print_result

    with _progress() as progress:
        result = run(settings, progress)
    if as_json:
        _print_json(result.model_dump(mode="json"))
        return
    print_result(out, result)
    stories = example_stories(result)
    print_examples(out, stories)
    if first_time and stories:
        print_next_steps(out, result, stories[0].query_id)


def _load(path: Path, overrides: list[str] | None) -> Any:
    from flows.configuration import load_settings
    from flows.settings import MineSettings

    return load_settings(MineSettings, path, overrides or []).resolved(path.parent)


def _context(root: str, progress: Any, executor: Any) -> Any:
    from tasks.runner.runner import Context
    from tasks.store.storage import open_storage

    return Context(open_storage(root), lambda: executor, progress)


def _progress() -> Any:
    from flows.progress import ArtifactProgress, LogProgress, ManyProgress, TerminalProgress

    listeners: list[Any] = [TerminalProgress(err) if err.is_terminal else LogProgress(err)]
    if os.environ.get("PREFECT_API_URL"):
        listeners.append(ArtifactProgress())
    return ManyProgress(listeners)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
