"""Files that a setting names: paths and globs."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from tasks.errors import InputError


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""One path or glob, or several."""


def matches(field: str, patterns: Sequence[str]) -> list[Path]:
    """The files of some patterns: of one pattern in alphabetical order, several patterns in the order given.

    Args:
        field: the setting, for errors.
        patterns: paths or globs.

    Raises:
        InputError: a pattern matches no file, names a folder, or two match the same file.
    """
    found: list[Path] = []
    for pattern in patterns:
        if Path(pattern).is_file():
            found.append(Path(pattern))
            continue
        if Path(pattern).is_dir():
            raise InputError(f"{field}: {pattern} is a folder", f"give its files, as in {field.rpartition('.')[2]}: {pattern}/*.jsonl")
        paths = [Path(path) for path in sorted(glob.glob(pattern, recursive=True)) if Path(path).is_file()]  # noqa: PTH207
        if not paths:
            raise InputError(f"{field}: no file {pattern}", "correct the path; relative paths count from the folder of run.yaml")
        found += paths
    doubled = sorted({str(path) for path in found if found.count(path) > 1})
    if doubled:
        raise InputError(f"{field}: {doubled[0]} is named twice", "remove one of the two, or the pattern that matches it again")
    return found


def absolute(base: Path, path: str) -> str:
    """A path from a folder; ``~`` is expanded, globs stay."""
    return str(base / Path(path).expanduser())
