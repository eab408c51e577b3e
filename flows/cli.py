"""The command line. Exit codes: 0 done, 1 failed, 2 wrong use."""

from __future__ import annotations

import os
import sys

import typer
from rich.markup import escape

from flows.commands import asking, comparing, judging, keeping, mining, planning, reviewing, serving, stored, training, watching, writing
from flows.commands.common import err
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

for group in (mining, planning, stored, judging, comparing, training, asking, serving, watching, keeping):
    app.add_typer(group.app)
app.add_typer(reviewing.app, name="review")
app.add_typer(writing.app, name="write")


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


if __name__ == "__main__":
    main()
