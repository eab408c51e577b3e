"""The files of a dataset: found, and checked before anything is read."""

from __future__ import annotations

import gzip
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tasks.corpus.layouts import FINDERS, kind_of
from tasks.corpus.readers import docstrings
from tasks.corpus.records import ALIASES, NEEDED
from tasks.corpus.settings import DatasetSettings
from tasks.errors import InputError, nearest
from tasks.store.keys import file_checksum

_MAGIC = {"parquet": b"PAR1", "arrow": b"\xff\xff\xff\xff"}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
#: rough growth from bytes on disk to text
_GROWTH = {".gz": 4, ".parquet": 2}
_LOOKED_AT = 1 << 18  # bytes


@dataclass(frozen=True)
class Source:
    """One file (or a list of packages) and what it is read as.

    Args:
        role: corpus, texts, queries, qrels, chunk-labels, pairs or packages.
        kind: jsonl, csv, parquet, arrow or docstrings.
        path: the file; empty for packages and for what is under the root.
        label: its name in messages: the path below the dataset's common folder.
        checksum: of its content.
        bytes: its size on disk.
        delimiter: of a CSV file.
        packages: folders by package.
        provenance: of its judgements; empty: the user's own.
        stored: its name under the root, which every worker reads it from; empty: a file of the user's, at ``path``.
        origin: the dataset whose documents these are, where they are another's.
    """

    role: str
    kind: str
    path: str
    label: str
    checksum: str
    bytes: int
    delimiter: str = ","
    packages: dict[str, list[str]] = field(default_factory=dict)
    provenance: str = ""
    stored: str = ""
    origin: DatasetSettings | None = None

    @property
    def text_bytes(self) -> int:
        """An estimate of the text in it: more than its size for packed files."""
        return self.bytes * _GROWTH.get(Path(self.path or self.stored).suffix, 1)

    @property
    def rows(self) -> int:
        """An estimate of its rows: a Parquet file's own number, else by the mean length of its first lines; 0: unknown."""
        if self.kind == "parquet" and self.path:
            import pyarrow.parquet as pq

            return int(pq.read_metadata(self.path).num_rows)
        if self.kind not in ("jsonl", "csv") or not self.path:
            return 0
        with gzip.open(self.path) if self.path.endswith(".gz") else Path(self.path).open("rb") as lines:
            start = lines.read(_LOOKED_AT)
        return self.text_bytes * start.count(b"\n") // max(1, len(start))


def find_sources(settings: DatasetSettings) -> list[Source]:
    """Every source of a dataset, in the order that decides which of two equal ids is first.

    Files of a pattern are in alphabetical order, several patterns in the order given.

    Raises:
        InputError: a file is missing, not what its name says, or has not the columns asked for.
        UsageError: a package is not installed, or it is not clear which split is meant.
    """
    if settings.format == "docstrings":
        roots = {package: docstrings.package_roots(package) for package in settings.packages}
        checksum, size = docstrings.checksum(dict(roots))
        packages = {package: [str(root) for root in folders] for package, folders in roots.items()}
        return [Source("packages", "docstrings", "", "packages", checksum, size, packages=packages)]
    files = FINDERS[settings.format](settings)
    for role, path in files:
        _check_file(role, path, settings)
    base = Path(os.path.commonpath([path.parent.absolute() for _, path in files]))
    with ThreadPoolExecutor(4) as threads:
        checksums = list(threads.map(lambda found: file_checksum(found[1]), files))
    return [
        Source(
            role,
            kind_of(path),
            str(path),
            path.absolute().relative_to(base).as_posix(),
            checksum,
            path.stat().st_size,
            delimiter_of(path, settings),
        )
        for (role, path), checksum in zip(files, checksums, strict=True)
    ]


def columns_of(role: str, settings: DatasetSettings) -> dict[str, tuple[str, ...]]:
    """By field, the column names to try: the user's, or the usual ones."""
    given = settings.columns
    return {name: ((getattr(given, name),) if getattr(given, name, "") else usual) for name, usual in ALIASES[role].items()}


def delimiter_of(path: Path, settings: DatasetSettings) -> str:
    """A CSV file's delimiter: the setting, or by its ending."""
    return settings.delimiter or ("\t" if path.name.removesuffix(".gz").endswith(".tsv") else ",")


def _check_file(role: str, path: Path, settings: DatasetSettings) -> None:
    """Refuse a file that is not what its name says, or lacks a needed column."""
    kind = kind_of(path)
    try:
        with path.open("rb") as handle:
            start = handle.read(4)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", "check its permissions") from error
    if path.suffix == ".gz" and not start.startswith(b"\x1f\x8b"):
        raise InputError(f"{path}: not a gzip file", "remove the ending .gz, or pack it")
    if path.suffix != ".gz" and start.startswith(b"\x1f\x8b"):
        raise InputError(f"{path}: a gzip file", "add the ending .gz, or unpack it")
    if kind in _MAGIC and not start.startswith(_MAGIC[kind]):
        raise InputError(
            f"{path}: not {'a Parquet' if kind == 'parquet' else 'an Arrow'} file", "write it again, or name it by its true kind"
        )
    if kind in ("jsonl", "csv") and start.startswith(_UTF16):
        raise InputError(f"{path}: the text is UTF-16", f"convert it: iconv -f UTF-16 -t UTF-8 {path.name}")
    if kind != "jsonl" and settings.format != "beir":
        _check_columns(role, kind, path, settings)


def _check_columns(role: str, kind: str, path: Path, settings: DatasetSettings) -> None:
    from tasks.corpus.readers.arrow import arrow_columns, parquet_columns
    from tasks.corpus.readers.delimited import header_of
    from tasks.corpus.readers.rows import Dialect

    try:
        if kind == "csv":
            there = header_of(path, Dialect(delimiter_of(path, settings)))
        else:
            there = parquet_columns(path) if kind == "parquet" else arrow_columns(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged file ({error})", "write it again") from error
    for name, names in columns_of(role, settings).items():
        wanted = name in NEEDED[role] or bool(getattr(settings.columns, name, ""))
        if wanted and not set(names) & set(there):
            raise InputError(
                f"{path}: there is no column {' or '.join(names)}; it has {', '.join(there) or 'none'}",
                f"set dataset.columns.{name} to the right one ({nearest(names[0], there)})",
            )
