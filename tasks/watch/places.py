"""Where checkpoints appear: a local folder, in which they are used as they lie, or an S3 prefix, from which they are fetched."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Protocol

from tasks.errors import StorageError, UsageError
from tasks.models.fingerprint import matters
from tasks.store.s3 import S3Storage
from tasks.store.seen import SeenFile, look_at
from tasks.watch.checkpoint import Checkpoint, checkpoints


class Changed(Exception):
    """A checkpoint changed while it was fetched: it was not complete."""


class Place(Protocol):
    """A folder of checkpoints."""

    name: str

    def look(self) -> list[Checkpoint]:
        """What is there now, complete or not.

        Raises:
            StorageError: the place cannot be read.
        """

    def bring(self, checkpoint: Checkpoint) -> Path:
        """A local folder with the checkpoint's model.

        Raises:
            Changed: it is being written.
            StorageError: it cannot be read.
        """


class LocalPlace:
    """Sub-folders of a folder, which need not be there yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.expanduser().absolute()
        self.name = str(self._folder)

    def look(self) -> list[Checkpoint]:
        """See :class:`Place`."""
        files: list[SeenFile] = []
        try:
            children = [child for child in self._folder.iterdir() if child.is_dir()] if self._folder.exists() else []
            for child in children:
                files += [SeenFile(f"{child.name}/{file.name}", file.size, file.mark, file.written) for file in look_at(child)]
        except FileNotFoundError:  # removed between two calls: what is left is seen by the next look
            pass
        except OSError as error:
            raise StorageError(f"{error.filename or self.name}: {error.strerror}", "correct the path or its permissions") from error
        return checkpoints(files)

    def bring(self, checkpoint: Checkpoint) -> Path:
        """See :class:`Place`: the folder itself."""
        return self._folder / checkpoint.name


class S3Place:
    """Sub-folders of an S3 prefix. A checkpoint is fetched whole into a folder of its own, without the trainer's state.

    Args:
        prefix: ``s3://bucket/prefix``.
        folder: where fetched checkpoints are kept.
    """

    def __init__(self, prefix: str, folder: Path) -> None:
        self._storage = S3Storage(prefix)
        self._folder = folder
        self.name = self._storage.root

    def look(self) -> list[Checkpoint]:
        """See :class:`Place`."""
        return checkpoints(self._storage.walk())

    def bring(self, checkpoint: Checkpoint) -> Path:
        """See :class:`Place`. What was fetched before and has not changed is not fetched again."""
        target = self._folder / f"{checkpoint.name}-{checkpoint.signature[:16]}"
        if target.is_dir():
            return target
        making = self._folder / f".{uuid.uuid4().hex}"
        try:
            for file in checkpoint.files:
                if matters(Path(file.name)):
                    self._storage.fetch(f"{checkpoint.name}/{file.name}", making / file.name)
            if checkpoint.signature not in {one.signature for one in self.look()}:
                raise Changed(checkpoint.name)
            making.rename(target)
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return target


def open_place(where: str, root: str) -> Place:
    """The place that a user names.

    Args:
        where: a folder or ``s3://bucket/prefix``.
        root: of the run. Fetched checkpoints are kept under a local root, else in a folder for temporary files.

    Raises:
        UsageError: the scheme is unknown.
    """
    if not where.startswith("s3://"):
        if "://" in where:
            raise UsageError(f"{where}: unknown scheme", "give a local folder or s3://bucket/prefix")
        return LocalPlace(Path(where))
    local = Path(tempfile.gettempdir()) / f"hardmine-{os.getuid()}" if "://" in root else Path(root)
    folder = local / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    return S3Place(where, folder)
