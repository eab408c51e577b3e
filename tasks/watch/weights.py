"""Whether a checkpoint's weights are whole, from their headers alone: a cut file is found before a round is begun."""

from __future__ import annotations

import json
from pathlib import Path

from tasks.errors import ModelError
from tasks.models.fingerprint import matters

_PREFIX = 8  # a safetensors file begins with its header's length, little endian
_MEND = "let the trainer write it again; it is tried again when its files change"


def check_whole(folder: Path, name: str) -> None:
    """Refuse a checkpoint with a cut safetensors file, or without a file that its index names.

    Args:
        folder: of the model.
        name: what to call it.

    Raises:
        ModelError: which file, and what is wrong with it.
    """
    for file in sorted(folder.rglob("*.safetensors*")):
        inside = file.relative_to(folder)
        if not file.is_file() or not matters(inside):
            continue
        if file.suffix == ".safetensors":
            size, wanted = file.stat().st_size, _expected(file)
            if wanted is None:
                raise ModelError(f"checkpoint {name}: {inside.as_posix()} is no safetensors file", _MEND)
            if size != wanted:
                raise ModelError(f"checkpoint {name}: {inside.as_posix()} has {size:,} bytes, its header says {wanted:,}", _MEND)
        elif file.name.endswith(".safetensors.index.json"):
            missing = sorted(part for part in _parts(file) if not (file.parent / part).is_file())
            if missing:
                raise ModelError(f"checkpoint {name}: {missing[0]} is missing, and {inside.as_posix()} names it", _MEND)


def _expected(file: Path) -> int | None:
    """Bytes that a safetensors file should have; ``None`` where its header cannot be read."""
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(_PREFIX), "little")
        if not 2 <= length <= file.stat().st_size - _PREFIX:
            return None
        try:
            header = json.loads(handle.read(length))
            ends = [int(entry["data_offsets"][1]) for key, entry in header.items() if key != "__metadata__"]
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return None
    return _PREFIX + length + max(ends, default=0)


def _parts(index: Path) -> set[str]:
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()
