"""Which code this is: a run and its workers must have the same, since keys are made here and bytes there."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import xxhash

_CODE = (".py", ".j2", ".css")


def source_digest(folder: Path) -> str:
    """Eight hex digits over all Python files and templates under a folder, their names and contents."""
    digest = xxhash.xxh3_64()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in _CODE):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:8]


def _release() -> str:
    try:
        number = version("hardmine")
    except PackageNotFoundError:
        number = "not packaged"
    return f"{number}, source {source_digest(Path(__file__).parents[1])}"


#: as in ``0.1.0, source 1f3a9c02``: of the code as it was when this module was imported
RELEASE = _release()
