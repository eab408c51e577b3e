"""A committed model as a local folder, which is what loaders want."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from pathlib import Path

from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import local_file


def materialise(storage: Storage, part: Part, prefix: str = "model/") -> Path:
    """A local folder with a part's model files: the data folder itself on a local root, else a fetched one.

    Args:
        storage: the root.
        part: a committed part, such as that of ``train-teacher``.
        prefix: the files whose names begin so belong to the model.

    Raises:
        StorageError: a file is missing or damaged.
    """
    files = {record.name.removeprefix(prefix): local_file(storage, record) for record in part.files if record.name.startswith(prefix)}
    folders = {str(path).removesuffix(f"/{name}") if str(path).endswith(f"/{name}") else "" for name, path in files.items()}
    if len(folders) == 1 and "" not in folders:
        return Path(folders.pop())
    base = Path(tempfile.gettempdir()) / f"hardmine-{os.getuid()}" / "models"
    target = base / part.checksum
    if not target.is_dir():
        base.mkdir(parents=True, exist_ok=True, mode=0o700)
        making = base / f".{uuid.uuid4().hex}"
        for name, path in files.items():
            (making / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, making / name)
        try:
            making.rename(target)
        except OSError:  # another worker was first
            shutil.rmtree(making)
    return target
