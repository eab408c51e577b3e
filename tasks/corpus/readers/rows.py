"""What all readers give: a stream of rows, good or set aside, with their place in the file."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from tasks.errors import InputError

SHOWN = 200
BATCH = 1_024


class Raw(NamedTuple):
    """One row of a source.

    ``line`` is the line it begins at (in binary formats its row number), from 1. ``reason`` is set if the row cannot
    be read at all; ``values`` is then empty. ``content`` is the row as it stands, empty where that must be made from
    the values. ``file`` is set by readers of several files.
    """

    line: int
    values: Mapping[str, Any]
    content: str = ""
    reason: str = ""
    file: str = ""


@dataclass
class Cursor:
    """How far a reader is: bytes of the source taken so far."""

    done: int = 0


@dataclass(frozen=True)
class Dialect:
    """How delimited text is laid out.

    Args:
        delimiter: one character.
        quoted: fields may be quoted with ``"`` and then contain line ends.
        header: names of the fields if the file has no header line, or may have none (TREC-like qrels).
    """

    delimiter: str = ","
    quoted: bool = True
    header: tuple[str, ...] = ()


#: a reader: path, dialect (for delimited text), cursor → rows in the file's order, with constant memory
Reader = Callable[[Path, Dialect, Cursor], Iterator[Raw]]


def shown(raw: Raw) -> str:
    """The first 200 characters of a row, safe to store and print."""
    text = raw.content or json.dumps(dict(raw.values), ensure_ascii=False, default=str)
    return text[:SHOWN].encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


@contextmanager
def open_bytes(path: Path, cursor: Cursor) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """A file as it is or unpacked (``.gz``), and a function that moves the cursor to where reading is.

    Raises:
        InputError: it cannot be opened, or its packed data is damaged or cut short.
    """
    try:
        with path.open("rb") as plain:

            def advance() -> None:
                cursor.done = plain.tell()

            if path.suffix == ".gz":
                with gzip.open(plain) as unpacked:
                    yield unpacked, advance  # type: ignore[misc]
            else:
                yield plain, advance
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: the compressed data is damaged or cut short ({error})", "copy or pack the file again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}", "check the path and its permissions") from error
