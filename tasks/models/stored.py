"""Checkpoints that lie in the root, by a name that holds wherever the root is mounted: ``root:data/<stage>/<key>/model``.

What the name stands for is said by the part's manifest: the model's identity is computed from it, and nothing is fetched before the
model is loaded. A worker brings the files into its own cache (on a local root they are used where they lie); whoever loads a model
compares its files with that identity.
"""

from __future__ import annotations

import re
from pathlib import Path

from tasks.errors import ModelError
from tasks.store.manifest import FileRecord, Part, read_part
from tasks.store.storage import Storage

FOLDER = "model"
_PREFIX = "root:"
_NAME = re.compile(rf"data/(?P<stage>[a-z][a-z-]*)/(?P<key>[0-9a-f]{{32}})/{FOLDER}")


def reference(part: Part) -> str:
    """The name of the model that a committed part holds."""
    return f"{_PREFIX}data/{part.stage}/{part.key}/{FOLDER}"


def is_reference(path: str) -> bool:
    """Whether a model's path is such a name."""
    return path.startswith(_PREFIX)


def as_reference(storage: Storage, path: str) -> str:
    """The name of a model whose folder lies under the root's data; any other path as it is.

    Args:
        storage: the root.
        path: a folder, as ``/runs/mining/data/train-retriever/…/model`` or ``s3://bucket/prefix/data/…``, or what else names a model.
    """
    root, place = Path(storage.root), Path(path)
    if storage.is_local:
        root, place = root.resolve(), place.resolve()
    if not place.is_relative_to(root):
        return path
    inside = place.relative_to(root).as_posix()
    found = _NAME.fullmatch(inside)
    known = found is not None and read_part(storage, found["stage"], found["key"]) is not None
    return f"{_PREFIX}{inside}" if known else path


def location(storage: Storage, path: str) -> str:
    """Where a named model lies, for people: under the root; any other path as it is."""
    return f"{storage.root}/{path.removeprefix(_PREFIX)}" if is_reference(path) else path


def stored_part(storage: Storage | None, path: str) -> Part:
    """The committed part behind a name.

    Raises:
        ModelError: it is no such name, no root is given to look in, or the root has no such part.
    """
    found = _NAME.fullmatch(path.removeprefix(_PREFIX))
    if found is None:
        raise ModelError(f"model {path}: not the name of a model in a root", "as in root:data/train-retriever/KEY/model")
    if storage is None:
        raise ModelError(f"model {path}: it lies in a root, and none is known here", "give the model's folder")
    part = read_part(storage, found["stage"], found["key"])
    if part is None:
        raise ModelError(f"model {path}: {storage.root} has none of it, or not all of it", "train it again: what is there is reused")
    return part


def model_files(part: Part) -> dict[str, FileRecord]:
    """A part's model files, by their names in the model's folder."""
    prefix = f"{FOLDER}/"
    return {record.name.removeprefix(prefix): record for record in part.files if record.name.startswith(prefix)}
