"""Source order over several files, and what counts where an id comes again."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tasks.corpus.ingest import DOCS_BUCKET, QRELS_BUCKET, QUERIES_BUCKET
from tasks.runner.stage import Work

#: rows that one source file may have; the position of a row is its file's number times this, plus its place there
FILE_ROWS = 1 << 40

_SCHEMAS = {"documents": DOCS_BUCKET, "queries": QUERIES_BUCKET, "qrels": QRELS_BUCKET}


def concat_placed(work: Work, role: str, name: str, numbers: Sequence[int], kind: str = "") -> pa.Table:
    """The buckets of several sources, one after the other, ``position`` counting over all of them.

    ``kind``: documents, queries or qrels, where the role is named otherwise.

    A source that grows does not move the positions of those after it, so their partitions stay as they are.
    """
    schema = _SCHEMAS[kind or role]
    tables = [schema.empty_table()]
    for part, number in zip(work.job.inputs[role], numbers, strict=True):
        table = work.part_table(part, name)
        place = table.schema.get_field_index("position")
        moved = pc.add(table["position"], pa.scalar(number * FILE_ROWS, pa.int64()))
        tables.append(table.set_column(place, "position", moved).cast(schema))
        work.report(table.num_rows if role != "qrels" else 0)
    return pa.concat_tables(tables)


def repeats(table: pa.Table, name: str) -> tuple[pa.Table, pa.Table, int]:
    """Keep the first row of every id.

    Args:
        table: rows with ``position`` and ``derived``.
        name: the id's column.

    Returns:
        (first rows, sorted by id; later rows whose id the user gave, in source order; how many later rows with an id
        that was made from their content, which are the same row again).
    """
    ordered = table.sort_by([(name, "ascending"), ("position", "ascending")])
    ids = ordered[name].combine_chunks()
    if len(ids) < 2:
        return ordered, ordered.slice(0, 0), 0
    again = pa.concat_arrays([pa.array([False]), pc.equal(ids.slice(1), ids.slice(0, len(ids) - 1))])
    later = ordered.filter(again)
    mistaken = later.filter(pc.invert(later["derived"])).sort_by("position")
    return ordered.filter(pc.invert(again)), mistaken, later.num_rows - mistaken.num_rows
