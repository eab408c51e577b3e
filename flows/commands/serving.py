"""Commands that run hardmine as a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.common import AsJson, Root, out, print_json

app = typer.Typer()


def _absolute(root: str) -> str:
    return root if "://" in root else str(Path(root).expanduser().resolve())


@app.command(epilog="Example: hardmine serve --port 4200")
def serve(
    host: Annotated[
        str,
        typer.Option(
            help="Where the server listens. 0.0.0.0: everywhere; its pages then ask this machine's name, or what PREFECT_UI_API_URL says."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Of the server.")] = 4200,
    root: Root = "./mining",
) -> None:
    """Start a Prefect server with its pages (or use the one of PREFECT_API_URL), and run all flows from it until Ctrl-C."""
    from flows.deployed.serving import serve as run

    def announce(address: str) -> None:
        out.print(f"[bold]Prefect UI[/bold] {address}/deployments", highlight=False)
        out.print("choose a deployment, then Run, Custom run; Ctrl-C ends the server and all runs", highlight=False)

    try:
        run(host, port, _absolute(root), announce)
    except KeyboardInterrupt:
        out.print("server and runs are ended", highlight=False)


@app.command(epilog="Example: PREFECT_API_URL=http://server:4200/api hardmine deploy --pool kubernetes")
def deploy(
    pool: Annotated[str | None, typer.Option(help="The work pool that runs them; by default a process with `hardmine serve`.")] = None,
    root: Annotated[str, typer.Option(envvar="HARDMINE_ROOT", help="Fills in the forms; empty: HARDMINE_ROOT where a run works.")] = "",
    as_json: AsJson = False,
) -> None:
    """Put deployments, schedules, automations and limits on the server of PREFECT_API_URL; again and again without doubles."""
    from flows.deployed.deploying import deploy as put
    from tasks.errors import UsageError

    if not _server_is_set():
        raise UsageError("PREFECT_API_URL names no server", "set it, as in PREFECT_API_URL=http://127.0.0.1:4200/api")
    made = put(_absolute(root) if root else "", pool)
    if as_json:
        print_json({name: str(number) for name, number in made.items()})
    else:
        out.print(f"{len(made)} deployments: {', '.join(made)}", highlight=False)


def _server_is_set() -> bool:
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())
