"""What formats are rendered from: training rows with their scores, texts of queries and documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks import sql
from tasks.errors import GateError, UsageError
from tasks.models.order import is_trained
from tasks.shards.layouts import Anchors, Ints, Layout, offsets_of
from tasks.shards.settings import ShardSettings
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import take_texts
from tasks.templates import templated


@dataclass(frozen=True)
class Material:
    """Training rows of one training stage, ready for any format.

    Args:
        lines: rows.parquet with dense_score, teacher_logit, relevance and score (the column that settings name); one line a document.
        anchors: the lines grouped.
        queries: text of each query of the partition.
        documents: title, text and document (title and text by the template), one row for each distinct document.
    """

    lines: pa.Table
    anchors: Anchors
    queries: pa.ChunkedArray
    documents: pa.Table

    def query(self, layout: Layout) -> pa.Array:
        """The query's text of each output row."""
        return self.queries.take(self.line_column("query_row", self.anchors.first[layout.anchor])).combine_chunks()

    def query_ids(self, layout: Layout) -> pa.Array:
        """The query's id of each output row."""
        return self.line_column("query_id", self.anchors.first[layout.anchor])

    def document(self, lines: Ints, column: str = "document") -> pa.Array:
        """Text of the document on each of some lines."""
        return _whole(self.documents[column].take(pa.array(self.anchors.document[lines])))

    def line_column(self, name: str, lines: Ints) -> pa.Array:
        """A column of rows.parquet on some lines."""
        return _whole(self.lines[name].take(pa.array(lines)))


def listed(counts: Ints, values: pa.Array) -> pa.Array:
    """Lists of ``counts[i]`` values each, from the joined values."""
    return pa.ListArray.from_arrays(pa.array(offsets_of(counts), pa.int32()), values)


def with_scores(rows: pa.Table, scored: pa.Table, score: str) -> pa.Table:
    """Training rows with the scores of their (query, document), in the rows' order.

    Args:
        rows: :data:`tasks.schema.ROWS`.
        scored: the partition's scored table.
        score: the column that becomes ``score``.

    Raises:
        UsageError: there is no such score column.
    """
    if score not in scored.column_names:
        raise UsageError(
            f"score {score!r}: the round has no such column",
            f"choose one of {', '.join(n for n in scored.column_names if 'score' in n or 'teacher' in n)}",
        )
    query = f"""
SELECT r.* EXCLUDE (i), s.dense_score, s.teacher_logit, s.relevance, s.{sql.quote_identifier(score)} AS score
FROM (SELECT *, row_number() OVER () AS i FROM lines) r LEFT JOIN scored s ON s.query_id = r.query_id AND s.doc_id = r.doc_id ORDER BY i"""
    return sql.run(query, {"lines": rows, "scored": scored})


def check_slots(rows: pa.Table) -> None:
    """Each anchor row's lines are its positive, then its negatives by slot.

    Raises:
        GateError: they are not.
    """
    slot, row_no = rows["slot"].to_numpy(), rows["row_no"].to_numpy()
    new = np.ones(len(slot), np.bool_)
    new[1:] = row_no[1:] != row_no[:-1]
    starts = np.flatnonzero(new)
    wrong = np.flatnonzero(slot != np.arange(len(slot)) - starts[np.cumsum(new) - 1]) if len(slot) else slot
    if len(wrong):
        query = rows["query_id"][int(wrong[0])].as_py()
        raise GateError(f"training rows of query {query!r} are not slots 0, 1, 2 …", "select again; if it stays, report it")


def drop_unscored(lines: pa.Table) -> tuple[pa.Table, int]:
    """Lines that have a score, without the rest of those whose positive has none; and how many lines went."""
    valid = pc.is_valid(lines["score"]).to_numpy()
    starts = lines["slot"].to_numpy() == 0
    positive_valid = valid[np.flatnonzero(starts)][np.cumsum(starts) - 1] if len(valid) else valid
    kept = valid & positive_valid
    return lines.filter(pa.array(kept)), int((~kept).sum())


def of_training(rows: pa.Table, split: pa.ChunkedArray, asked: str) -> tuple[pa.Table, dict[str, int], dict[str, int]]:
    """Rows of queries that may be trained on.

    Args:
        rows: :data:`tasks.schema.ROWS`.
        split: of each query of the partition.
        asked: a split whose rows stay as well; empty: none.

    Returns:
        The rows, in their order; by split, how many queries with rows were left out, and how many stay because they were asked for.
    """
    names = pc.utf8_lower(split)
    asked_for = pc.and_(pc.invert(is_trained(split)), pc.fill_null(pc.equal(names, asked.lower()), False))
    kept = np.asarray(pc.or_(is_trained(split), asked_for))
    own = rows["query_row"].to_numpy()
    with_rows = np.zeros(len(kept), np.bool_)
    with_rows[own] = True
    left_out, stay = (
        _counted(names.filter(pa.array(with_rows & ~kept))),
        _counted(names.filter(pa.array(with_rows & np.asarray(asked_for)))),
    )
    return (rows.filter(pa.array(kept[own])) if left_out else rows), left_out, stay


def _counted(names: pa.ChunkedArray) -> dict[str, int]:
    counts = names.value_counts()
    return dict(sorted(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)))


def gather(storage: Storage, lines: pa.Table, queries: pa.Table, documents: Sequence[Part], settings: ShardSettings) -> Material:
    """Fetch the texts of training rows; each distinct document is read once."""
    partition, row = lines["doc_partition"].to_numpy().astype(np.int64), lines["doc_row"].to_numpy()
    _, where, codes = np.unique(np.stack([partition, row]), axis=1, return_index=True, return_inverse=True)
    texts = take_texts(storage, documents, partition[where], row[where], ["title", "text"])
    first = np.flatnonzero(lines["slot"].to_numpy() == 0).astype(np.int64)
    anchors = Anchors(
        query=lines["query_row"].to_numpy()[first],
        first=first,
        count=np.diff(np.append(first, len(lines))) - 1,
        document=codes.reshape(-1).astype(np.int64),
    )
    return Material(lines, anchors, queries["text"], texts.append_column("document", templated(texts, settings.document_template)))


def _whole(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
