"""What commands share: options, consoles, the storage and progress they run with."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

out = Console()
err = Console(stderr=True)

Root = Annotated[str, typer.Option(envvar="HARDMINE_ROOT", help="Where everything is kept: a folder, or s3://bucket/prefix.")]
AsJson = Annotated[bool, typer.Option("--json", help="End with one line of JSON on standard output.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting: key.sub=value. May be repeated.", metavar="KEY=VALUE")
]
Round = Annotated[str, typer.Argument(help="A round: DATASET/NUMBER, DATASET (its last), or latest.")]


def load(path: Path, overrides: list[str] | None) -> Any:
    """The run's settings, with relative paths resolved."""
    from flows.configuration import load_settings, with_recipe_files
    from flows.settings import MineSettings
    from tasks.errors import UsageError

    if has_datasets(path):
        raise UsageError(
            f"{path}: datasets: this command takes one dataset, and the file lists several",
            "`hardmine mine` mines all of them; for this command write a run.yaml with the one under `dataset`",
        )
    return with_recipe_files(load_settings(MineSettings, path, overrides or []), path.parent).resolved(path.parent)


def has_datasets(path: Path) -> bool:
    """Whether a run.yaml lists several datasets. What is wrong with the file is said when it is loaded."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(values, dict) and "datasets" in values


def load_many(path: Path, overrides: list[str] | None) -> Any:
    """The settings of a run over several datasets, with relative paths resolved."""
    from flows.configuration import load_recipe, load_settings, with_recipe_files
    from flows.many_settings import ManySettings

    loaded = load_settings(ManySettings, path, overrides or [])
    members = tuple(
        member.model_copy(update={"recipe": load_recipe(member.recipe, path.parent)}) if isinstance(member.recipe, str) else member
        for member in loaded.datasets
    )
    return with_recipe_files(loaded.model_copy(update={"datasets": members}), path.parent).resolved(path.parent)


def read_judgements(qrels: Path | None, queries: Path | None, min_grade: int) -> Any:
    """A truth from --qrels and --queries, or none."""
    from tasks.compare.truth import read_truth
    from tasks.errors import UsageError

    if qrels is None and queries is not None:
        raise UsageError("--queries names the queries that judgements cover", "give the judgements too: --qrels truth.tsv")
    return None if qrels is None else read_truth(qrels, queries, min_grade)


@contextmanager
def open_context(root: str, progress: Any, writes: bool = True) -> Iterator[Any]:
    """Storage and progress; stages run in this process. Meanwhile nothing under the root is cleared away. ``writes``: see ``at_work``."""
    from tasks.runner.inline import InlineExecutor
    from tasks.runner.runner import Context
    from tasks.store.lease import at_work
    from tasks.store.storage import open_storage

    storage = open_storage(root)
    with at_work(storage, Path(sys.argv[0]).name, writes):
        yield Context(storage, lambda: InlineExecutor(2), progress)


def progress_listeners() -> Any:
    """Who shows progress: the terminal or the log, and Prefect's UI."""
    from flows.progress import ArtifactProgress, LogProgress, ManyProgress, TerminalProgress

    listeners: list[Any] = [TerminalProgress(err) if err.is_terminal else LogProgress(err)]
    if os.environ.get("PREFECT_API_URL"):
        listeners.append(ArtifactProgress())
    return ManyProgress(listeners)


def print_json(value: Any) -> None:
    """One line of JSON on standard output."""
    sys.stdout.write(json.dumps(value, separators=(",", ":")) + "\n")
