"""Tables as JSON lines."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

_ROWS = 2_000


def json_lines(table: pa.Table) -> bytes:
    r"""A table as UTF-8 JSON, one row a line.

    >>> json_lines(pa.table({"a": [1, None]})).decode()
    '{"a": 1}\n{"a": null}\n'
    """
    lines: list[str] = []
    for batch in table.to_batches(max_chunksize=_ROWS):
        record: dict[str, Any]
        for record in batch.to_pylist():
            lines.append(json.dumps(record, ensure_ascii=False, allow_nan=False))
    return "".join(line + "\n" for line in lines).encode()
