"""A chunk of the queries: the only ones that a round searches for. What is row-aligned with the queries stays so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.folds import Fold, in_chunk
from tasks.runner.stage import Work
from tasks.store.manifest import Part


def keyed(chunk: Fold | None) -> dict[str, Any]:
    """A job's setting; nothing where all queries are mined."""
    return {} if chunk is None else {"chunk": [chunk.number, chunk.count]}


def expected(units: int, chunk: Fold | None) -> int:
    """About how many of so many queries are in the chunk."""
    return units if chunk is None else -(-units // chunk.count)


def asked_rows(work: Work, part: Part) -> NDArray[np.int64] | None:
    """Rows of a partition's queries that are in the job's chunk, ascending, int64; ``None``: all of them."""
    if "chunk" not in work.job.settings:
        return None
    ids: Sequence[str] = work.part_table(part, "queries.parquet", ["query_id"])["query_id"].to_pylist()
    return np.flatnonzero(in_chunk(ids, Fold(*work.job.settings["chunk"])))
