"""Rows set aside: how they are recorded, and the limit over which a run stops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from tasks.corpus.readers.rows import SHOWN
from tasks.errors import InputError
from tasks.schema import REJECTED_INPUT
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import read_table

_SHOWN_ROWS = 10


def rejections(rows: pa.Table, reason: str, column: str, content: Sequence[str]) -> pa.Table:
    """Rows of a bucket as :data:`tasks.schema.REJECTED_INPUT`: the reason with one column's value, some columns as content."""
    values = rows.select([column, *content, "file", "line"] if column not in content else [*content, "file", "line"]).to_pylist()
    return pa.Table.from_pylist(
        [
            {
                "file": row["file"],
                "line": row["line"],
                "reason": f"{reason} {row[column]!r}",
                "content": "\t".join(str(row[name]) for name in content)[:SHOWN],
            }
            for row in values
        ],
        REJECTED_INPUT,
    )


def own_rows(judgements: pa.Table) -> int:
    """How many judgements are the user's own: labels that Hardmine added are recorded when they are set aside, and stop no run."""
    return int(judgements["provenance"].null_count)


def rejected_rows(storage: Storage, parts: Iterable[Part]) -> pa.Table:
    """All rows set aside in these parts, in their order."""
    tables = [read_table(storage, part.file("rejected.parquet")) for part in parts if sum(part.meta["rejected"].values())]
    return pa.concat_tables([REJECTED_INPUT.empty_table(), *tables])


def check_rejected(storage: Storage, parts: Sequence[Part], max_rejected: float, name: str) -> int:
    """Refuse a dataset of which too much is unusable.

    Args:
        storage: the root.
        parts: of ``ingest`` and, if they are there, ``documents`` and ``queries``.
        max_rejected: the share of the rows of any role (corpus, queries, qrels, pairs, …) that may be set aside.
        name: the dataset's.

    Returns:
        How many rows were set aside.

    Raises:
        InputError: more than that; the first ten are shown.
    """
    rows, rejected = _sum(part.meta.get("rows", {}) for part in parts), _sum(part.meta["rejected"] for part in parts)
    over = [role for role in sorted(rejected) if rejected[role] > max_rejected * rows[role]]
    if not over:
        return sum(rejected.values())
    bad = [part for part in parts if any(part.meta["rejected"].get(role) for role in over)]
    lines = [f"  {row['file']}:{row['line']}: {row['reason']}: {row['content']}" for row in _first(storage, bad)]
    counts = ", ".join(f"{rejected[role]:,} of {rows[role]:,} rows of {role}" for role in over)
    raise InputError(
        f"dataset {name}: {counts} cannot be used, more than the {max_rejected:.2%} that are allowed; the first:\n" + "\n".join(lines),
        "correct these rows, or raise dataset.max_rejected if they may be left out",
    )


def _sum(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total


def _first(storage: Storage, parts: Sequence[Part]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for part in parts:
        if len(found) < _SHOWN_ROWS:
            found += rejected_rows(storage, [part]).slice(0, _SHOWN_ROWS - len(found)).to_pylist()
    return found
