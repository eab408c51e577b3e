"""JSON lines, plain or gzip."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tasks.corpus.readers.rows import BATCH, SHOWN, Cursor, Dialect, Raw, open_bytes

_BOM = b"\xef\xbb\xbf"


def read(path: Path, dialect: Dialect, cursor: Cursor) -> Iterator[Raw]:
    """One row a line. Blank lines are no rows; a byte-order mark is dropped.

    A line that is not UTF-8, not JSON, or not an object is set aside alone.
    """
    with open_bytes(path, cursor) as (handle, advance):
        for number, line in enumerate(handle, 1):
            if number % BATCH == 0:
                advance()
            stripped = (line.removeprefix(_BOM) if number == 1 else line).strip()
            if stripped:
                yield parse(number, stripped)
        advance()


def parse(number: int, line: bytes) -> Raw:
    r"""One line as a row.

    >>> parse(3, b'[1]').reason
    'not a JSON object'
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return Raw(number, {}, line[: 4 * SHOWN].decode("utf-8", "replace"), "not UTF-8")
    try:
        values = json.loads(text)
    except RecursionError:
        return Raw(number, {}, text, "bad JSON: nested too deeply")
    except ValueError as error:
        return Raw(number, {}, text, f"bad JSON: {error}")
    if not isinstance(values, dict):
        return Raw(number, {}, text, "not a JSON object")
    return Raw(number, values, text)
