"""A selection's files in a folder of the user's: as they are, or where a trainer wants one file, as one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.shards.encoding import json_lines
from tasks.shards.formats.registry import Format
from tasks.store.manifest import FileRecord, Part
from tasks.store.storage import Storage
from tasks.store.tables import local_file

_HEAD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: "*.{extension}"
---

Training rows in Hardmine's format `{name}`. The head above keeps `load_dataset` of this folder to them, away from `sidecar/` and `lookup/`.
"""


def export(storage: Storage, parts: Sequence[Part], wanted: Format, target: Path, readme: bool = True) -> list[Path]:
    """Write the files of stage ``shards`` into a folder.

    Training files lie in it, their sidecars in ``sidecar/``, texts that ids stand for in ``lookup/``, one file a kind. Where a curriculum
    has further stages, the folders are called ``data-<stage>/``, ``sidecar-<stage>/`` and ``lookup-<stage>/``. A format that is one file
    becomes ``train.<ending>``, with one sidecar.

    Args:
        storage: the root.
        parts: as the stage left them.
        wanted: their format.
        target: the folder.
        readme: whether formats of rows get a README.md by which ``datasets.load_dataset`` of the folder reads them and nothing else.

    Returns:
        The files but for README.md: training files first, then lookups, then sidecars.
    """
    records = sorted((file for part in parts for file in part.files), key=lambda file: (_folder(file), file.path))
    written: list[Path] = []
    for folder, files in groupby(records, _folder):
        place = target if folder == "data" else target / folder
        place.mkdir(parents=True, exist_ok=True)
        written += _write(storage, list(files), wanted, folder, place)
    if readme and written and wanted.join is None:
        (target / "README.md").write_text(_HEAD.format(extension=wanted.extension, name=wanted.name), encoding="utf-8")
    return sorted(written, key=lambda path: (_rank(path.relative_to(target)), path))


def _write(storage: Storage, files: Sequence[FileRecord], wanted: Format, folder: str, place: Path) -> Iterator[Path]:
    if folder.startswith("lookup"):
        for kind, same in groupby(files, lambda file: PurePosixPath(file.name).name.split("-", 1)[0]):
            path = place / f"{kind}{PurePosixPath(files[0].name).suffix}"
            _join_texts((local_file(storage, file) for file in same), path)
            yield path
    elif wanted.join is None:
        for file in files:
            path = place / PurePosixPath(file.name).name
            shutil.copyfile(local_file(storage, file), path)
            yield path
    elif folder.startswith("sidecar"):
        path = place / "train.parquet"
        pq.write_table(pa.concat_tables([pq.read_table(local_file(storage, file)) for file in files]), path, compression="zstd")
        yield path
    else:
        path = place / f"train.{wanted.extension}"
        path.write_bytes(wanted.join([local_file(storage, file).read_bytes() for file in files]))
        yield path


def _join_texts(files: Iterable[Path], target: Path) -> None:
    """Lookups as one, each id once; one file is in memory at a time."""
    seen: set[str] = set()
    if target.suffix == ".parquet":
        writer: pq.ParquetWriter | None = None
        for file in files:
            table = _unseen(pq.read_table(file), seen)
            writer = writer or pq.ParquetWriter(target, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()
        return
    with target.open("wb") as handle:
        for file in files:
            rows = [json.loads(line) for line in file.read_bytes().splitlines()]
            handle.write(json_lines(_unseen(pa.Table.from_pylist(rows), seen)))


def _unseen(table: pa.Table, seen: set[str]) -> pa.Table:
    """Rows whose first column was not seen before; it is from then on."""
    kept = []
    for name in table.column(0).to_pylist():
        kept.append(name not in seen)
        seen.add(name)
    return table.filter(pa.array(kept, pa.bool_()))


def _folder(file: FileRecord) -> str:
    return PurePosixPath(file.name).parts[0]


def _rank(path: Path) -> int:
    kind = path.parts[0] if len(path.parts) > 1 else ""
    return 2 if kind.startswith("sidecar") else 1 if kind.startswith("lookup") else 0
