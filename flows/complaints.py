"""How errors are told: what is wrong and how to mend it, never a traceback on the terminal."""

from __future__ import annotations

import os
import tempfile
import traceback

from rich.console import Console
from rich.markup import escape

from tasks.errors import HardmineError


def _shown(text: str) -> str:
    """A text that any terminal takes: what it cannot encode (a lone surrogate from a file) becomes ``?``."""
    return escape(text.encode("utf-8", "replace").decode("utf-8"))


def complain(err: Console, error: HardmineError) -> None:
    """An error that says its mend."""
    err.print(f"[red]error[/red] {_shown(error.message)}", highlight=False, soft_wrap=True)
    if error.mend:
        err.print(f"[green]mend[/green]  {_shown(error.mend)}", highlight=False, soft_wrap=True)


def unexpected(err: Console, error: Exception) -> None:
    """One line for the user, the traceback in a file (on the terminal with HARDMINE_DEBUG set)."""
    if os.environ.get("HARDMINE_DEBUG"):
        raise error
    if isinstance(error, OSError) and error.strerror:
        err.print(f"[red]error[/red] {_shown(str(error.filename or ''))}: {escape(error.strerror)}", highlight=False, soft_wrap=True)
        err.print("[green]mend[/green]  correct the path or its permissions, and run again", highlight=False)
        return
    with tempfile.NamedTemporaryFile("w", prefix="hardmine-", suffix=".log", delete=False) as log:
        log.write("".join(traceback.format_exception(error)))
    err.print(f"[red]error[/red] {escape(type(error).__name__)}: {_shown(str(error)[:500])}", highlight=False, soft_wrap=True)
    err.print(
        f"[green]mend[/green]  run again: finished partitions are kept; the details are in {log.name}", highlight=False, soft_wrap=True
    )
