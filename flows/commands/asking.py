"""Commands that ask: the audit, the recipes, this installation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.common import AsJson, Root, out, print_json

app = typer.Typer()


@app.command(epilog='Example: hardmine sql "SELECT * FROM rejections_by_reason" --format csv')
def sql(
    query: Annotated[str | None, typer.Argument(help="One SELECT; without it, an interactive prompt.")] = None,
    output: Annotated[str, typer.Option("--format", help="table, csv, json or parquet.")] = "table",
    target: Annotated[Path | None, typer.Option("--out", help="A file; needed for parquet.")] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("--param", help="Value of a $name in the query. May be repeated.", metavar="NAME=VALUE")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds after which a query is stopped.")] = 60.0,
    root: Root = "./mining",
) -> None:
    """Ask the audit in SQL. It is read only."""
    from flows.query import answer, prompt
    from tasks.audit.build import latest_audit
    from tasks.store.storage import open_storage

    snapshot = latest_audit(open_storage(root))
    if query is None:
        prompt(out, snapshot, timeout)
    else:
        answer(out, snapshot, query, output, target, parameters or [], timeout)


@app.command(epilog="Example: hardmine recipes rocketqa")
def recipes(
    name: Annotated[str | None, typer.Argument(help="One recipe: its settings, source and SQL; a name, or a YAML file of yours.")] = None,
) -> None:
    """List the recipes, or explain one."""
    from flows.configuration import load_recipe
    from flows.summary import print_free_recipe, print_recipe, print_recipes

    if name is None:
        print_recipes(out)
        return
    wanted = load_recipe(name)
    if isinstance(wanted, str):
        print_recipe(out, wanted)
    else:
        print_free_recipe(out, wanted)


@app.command(epilog="Example: hardmine doctor --root s3://bucket/mining")
def doctor(root: Root = "./mining", as_json: AsJson = False) -> None:
    """What is installed, which devices and CPU features are used, whether the storage root works."""
    from flows.doctor import examine, print_findings

    findings = examine(root)
    if as_json:
        print_json([finding.model_dump() for finding in findings])
    else:
        print_findings(out, findings)
    if any(finding.state == "failed" for finding in findings):
        raise typer.Exit(1)
