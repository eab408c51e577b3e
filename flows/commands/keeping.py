"""Commands that keep a root sound and small."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.common import AsJson, Root, Round, err, out, print_json

app = typer.Typer()


@app.command(epilog="Example: hardmine verify --mend")
def verify(
    mend: Annotated[bool, typer.Option(help="Set damaged files aside: the next run rebuilds them.")] = False,
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """Compare all that is stored with its checksums. Exit code 1 where something is damaged or missing."""
    from flows.keeping.summary import print_verified, reading
    from flows.keeping.verify import verify as look
    from tasks.store.lease import at_work
    from tasks.store.storage import open_storage

    storage = open_storage(root)
    with at_work(storage, "verify", writes=mend), reading(err) as read:
        found = look(storage, mend, read)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        print_verified(out, found)
    if found.faults:
        raise typer.Exit(1)


@app.command(epilog="Example: hardmine gc --older-than 30 --keep-rounds 5 --apply")
def gc(
    apply: Annotated[bool, typer.Option(help="Remove; without it, only say what would go.")] = False,
    older_than: Annotated[float, typer.Option(min=0, help="Days since a file was last written.")] = 7.0,
    max_gb: Annotated[float | None, typer.Option(min=0, help="Remove the oldest until the root is no larger.")] = None,
    keep_rounds: Annotated[
        int | None, typer.Option(min=1, help="Newest rounds of each dataset that stay published; pinned ones do.")
    ] = None,
    root: Root = "./mining",
    as_json: AsJson = False,
) -> None:
    """Remove what no published round, pin or running job needs, the oldest first. Says only what would go, unless --apply."""
    from flows.keeping.gc import DAY, Limits, collect
    from flows.keeping.summary import print_collected
    from tasks.store.storage import open_storage

    limits = Limits(older_than * DAY, None if max_gb is None else int(max_gb * 1e9), keep_rounds)
    found = collect(open_storage(root), limits, apply)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        print_collected(out, found)


@app.command(epilog="Example: hardmine pin cranfield/2")
def pin(
    round_name: Round,
    off: Annotated[bool, typer.Option("--off", help="Take the pin off.")] = False,
    root: Root = "./mining",
) -> None:
    """Keep a round whatever `hardmine gc --keep-rounds` says."""
    from flows.keeping.retire import pin as set_pin
    from flows.stored import find_round
    from tasks.store.storage import open_storage

    storage = open_storage(root)
    record = find_round(storage, round_name)
    set_pin(storage, record, off)
    out.print(f"{record.dataset}/{record.number} is {'no longer ' if off else ''}pinned", highlight=False)
