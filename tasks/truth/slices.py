"""Rates by slices of the queries."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pydantic import Field

from tasks.intervals import Interval, clusters, codes, proportion
from tasks.settings import Settings
from tasks.slices import SMALL as SMALL
from tasks.slices import slices as slices
from tasks.sql import run


class Slice(Settings):
    """A rate on some queries."""

    slice: str = Field(description="all, dataset, language, length, positives or difficulty.")
    value: str
    queries: int
    small: bool = Field(description="Fewer than 30 queries.")
    rate: Interval


def rates(counts: pa.Table, sliced: pa.Table, level: float = 0.95) -> list[Slice]:
    """A rate for each slice that has pairs.

    Args:
        counts: query_id, numerator, denominator (pairs), optional group; a query may have several rows.
        sliced: of :func:`slices`.
        level: confidence.

    Returns:
        In the order of ``sliced``.
    """
    group = ', any_value(counts.group) AS "group"' if "group" in counts.column_names else ""
    rows = run(
        f"""SELECT slice, value, place, counts.query_id, sum(numerator) AS numerator, sum(denominator) AS denominator{group}
            FROM counts JOIN sliced USING (query_id) GROUP BY slice, value, place, counts.query_id HAVING sum(denominator) > 0
            ORDER BY slice, place, value, counts.query_id""",
        {"counts": counts, "sliced": sliced},
    )
    if not rows.num_rows:
        return []
    names = list(zip(rows["slice"].to_pylist(), rows["value"].to_pylist(), strict=True))
    starts = [at for at, name in enumerate(names) if at == 0 or names[at - 1] != name]
    return [
        _slice(names[start], rows.slice(start, end - start), level) for start, end in zip(starts, [*starts[1:], rows.num_rows], strict=True)
    ]


def _slice(name: tuple[str, str], rows: pa.Table, level: float) -> Slice:
    top, bottom = (rows[column].cast(pa.float64()).to_numpy() for column in ("numerator", "denominator"))
    rate = proportion(top, bottom, codes(clusters(rows)), level)
    number = int(np.unique(codes(rows["query_id"])).size)
    return Slice(slice=name[0], value=name[1], queries=number, small=number < SMALL, rate=rate)
