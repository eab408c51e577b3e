"""A committed model as a local folder, which is what loaders want."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tasks.models.fingerprint import ModelSpec
from tasks.models.stored import is_reference, model_files, stored_part
from tasks.store.folders import whole_folder
from tasks.store.manifest import FileRecord, Part
from tasks.store.storage import Storage
from tasks.store.tables import local_file


def materialise(storage: Storage, part: Part) -> Path:
    """A local folder with a part's model files: the data folder itself on a local root, else a fetched one.

    What was fetched stays in this machine's folder for temporary files, by its content; where files of it are gone it is fetched again.

    Args:
        storage: the root.
        part: a committed part, such as that of ``train-teacher``.

    Raises:
        StorageError: a file is missing or damaged.
    """
    records = model_files(part)
    if storage.is_local:
        paths = {name: local_file(storage, record) for name, record in records.items()}  # each compared with its checksum
        name, path = next(iter(paths.items()))
        return Path(str(path).removesuffix(f"/{name}"))
    base = Path(tempfile.gettempdir()) / f"hardmine-{os.getuid()}" / "models"
    base.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = base / part.checksum
    if not _whole(target, records):
        shutil.rmtree(target, ignore_errors=True)
    return whole_folder(target, lambda making: _fetch(storage, records, making))


def _fetch(storage: Storage, records: Mapping[str, FileRecord], folder: Path) -> None:
    for name, record in records.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(local_file(storage, record), folder / name)


def spec_here(storage: Storage, spec: ModelSpec) -> ModelSpec:
    """A model that a root's name stands for, as a folder of this machine; any other as it is.

    Raises:
        ModelError: the root has no such model.
        StorageError: a file is missing or damaged.
    """
    if not is_reference(spec.path):
        return spec
    return spec.model_copy(update={"path": str(materialise(storage, stored_part(storage, spec.path)))})


def _whole(folder: Path, records: Mapping[str, FileRecord]) -> bool:
    return all((folder / name).is_file() and (folder / name).stat().st_size == record.bytes for name, record in records.items())
