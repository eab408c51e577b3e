"""``hardmine push``: a round's training files as a dataset repository of the Hugging Face hub, or as the folder that would be pushed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.again import export_round
from flows.checks import check_new_folder
from flows.hub import Hub, render_card
from flows.push_card import Licence, body, check_languages, metadata
from flows.stored import stored_stage
from tasks.audit.records import RoundRecord, SelectionRecord
from tasks.errors import UsageError
from tasks.runner.runner import Context
from tasks.shards.formats.registry import format_named

ROWWISE = ("parquet", "jsonl")


@contextmanager
def pushed_folder(out: Path | None) -> Iterator[Path]:
    """The user's new folder, or one that is gone afterwards.

    Raises:
        UsageError: the user's is not empty.
    """
    if out is not None:
        check_new_folder(out)
        out.mkdir(parents=True, exist_ok=True)
        yield out
        return
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_formats(formats: Sequence[str]) -> None:
    """Refuse formats that the hub could not show as tables of one repository: ``load_dataset`` reads all of one with one reader.

    Raises:
        UsageError: which one.
    """
    endings = {format_named(name).extension: name for name in formats}
    wrong = next((name for ending, name in endings.items() if ending not in ROWWISE), None)
    if wrong is not None:
        raise UsageError(f"format {wrong!r} is no table that load_dataset reads", "push another one; `hardmine export` writes this one")
    if len(endings) > 1:
        raise UsageError(
            f"formats {' and '.join(sorted(endings.values()))} are files of two kinds, and load_dataset reads a repository by one reader",
            "push them to a repository each",
        )


def check_push(to: str | None, out: Path | None, formats: Sequence[str], languages: Sequence[str]) -> Hub | None:
    """Fail before anything is written; the hub, where there is one to push to.

    Raises:
        UsageError: nothing to do, a wrong name or format, no network, or no token.
    """
    if to is None and out is None:
        raise UsageError("nothing to push to", "give --to OWNER/NAME, or --out FOLDER for the folder that would be pushed")
    check_formats(formats)
    check_languages(languages)
    if out is not None:
        check_new_folder(out)
    return Hub.reached(to) if to is not None else None


def write_folder(
    context: Context,
    record: RoundRecord,
    selection: SelectionRecord,
    formats: Sequence[str],
    licence: Licence,
    languages: Sequence[str],
    folder: Path,
) -> list[Path]:
    """Write what is pushed: a folder for each format, and README.md, the card.

    Args:
        context: storage, executor, progress.
        record: the round.
        selection: of it.
        formats: which.
        licence: of the texts.
        languages: of the texts, codes.
        folder: empty.

    Returns:
        The files.
    """
    written: list[Path] = []
    rows: dict[str, int] = {}
    configs: list[dict[str, Any]] = []
    for name in formats:
        files = export_round(context, record, selection, name, folder / name, readme=False)
        written += files
        configs += _configs(folder, name, files)
        rows[name] = _rows(files)
    measures = dict(stored_stage(context.storage, selection.measures).parts[0].meta) if selection.measures else {}
    title = f"Hard negatives: {record.dataset}"
    head = metadata(rows[formats[0]], licence, languages, configs, title)
    readme = folder / "README.md"
    readme.write_text(render_card(head, body(record, selection, measures, licence, rows)), encoding="utf-8")
    return [readme, *written]


def _configs(folder: Path, name: str, files: Sequence[Path]) -> list[dict[str, Any]]:
    """The hub's configs of one format: its rows, those of a curriculum's further stages, its lookups; sidecars, where rows are Parquet."""
    found: dict[str, str] = {}
    for file in files:
        if file.suffix != files[0].suffix:
            continue
        place = file.parent.relative_to(folder / name).as_posix()
        if place.startswith("lookup"):
            found[f"{name}-{file.stem}{place.removeprefix('lookup')}"] = file.relative_to(folder).as_posix()
        else:
            suffix = "" if place == "." else f"-{place.removeprefix('data-')}"
            found[f"{name}{suffix}"] = f"{file.parent.relative_to(folder).as_posix()}/*{file.suffix}"
    return [{"config_name": config, "data_files": [{"split": "train", "path": path}]} for config, path in found.items()]


def _rows(files: Sequence[Path]) -> int:
    """Of a format's main rows, by their sidecars."""
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(file).num_rows for file in files if file.parent.name == "sidecar")
