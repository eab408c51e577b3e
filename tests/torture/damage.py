"""Damage to the files of a finished root: a bit flips, the end is cut off, the file is gone."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Literal

Damage = Literal["flip", "cut", "delete"]
DAMAGES: tuple[Damage, ...] = ("flip", "cut", "delete")
_VARYING = re.compile(r"[0-9a-f]{16,}|[0-9]+")
_OWN = ("leases", "tmp", "damaged")


def kinds(root: Path) -> dict[str, str]:
    """One file of each kind, by the kind: its name with digests and numbers left out."""
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.is_file() and name.parts[0] not in _OWN and not _is_replaced(root, name):
            found[_VARYING.sub("*", name.as_posix())] = name.as_posix()
    return found


def _is_replaced(root: Path, name: Path) -> bool:
    """Older snapshots and records, which no pointer names any more."""
    if name.parts[0] == "audit" or name.parts[:2] == ("manifests", "rounds"):
        return not any(name.as_posix() in path.read_text() for path in (root / "pointers").rglob("*.json"))
    return False


def copy(root: Path, target: Path) -> Path:
    """A copy that shares the files' content until they are replaced."""
    shutil.copytree(root, target, copy_function=os.link, ignore=shutil.ignore_patterns("leases", "tmp"))
    return target


def spoil(path: Path, damage: Damage) -> None:
    """Damage one file of a copy."""
    data = bytearray(path.read_bytes())
    path.unlink()
    if damage == "delete":
        return
    if damage == "flip":
        data[len(data) // 2] ^= 4
    path.write_bytes(data[:-7] if damage == "cut" else data)
