"""What a partition's work reads: a round's corpus with its vectors, and earlier training rows placed in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.folds import group_draws, query_groups
from tasks.models.order import is_trained
from tasks.runner.stage import Work
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import read_array, read_table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_PAIRS = 65_536
_ROW_COLUMNS = ["stage", "epoch", "row_no", "query_id", "positive_id", "slot", "doc_id", "label", "doc_partition", "doc_row"]


class Corpus:
    """All documents of a round, by number: partition after partition.

    Args:
        storage: the root.
        documents: parts with docs.parquet, in order.
        vectors: parts of ``embed-documents``, in the same order.
    """

    def __init__(self, storage: Storage, documents: Sequence[Part], vectors: Sequence[Part]) -> None:
        self._storage, self._documents = storage, documents
        self._vectors = [read_array(storage, part.file("vectors.npy")) for part in vectors]
        self._starts = np.concatenate([[0], np.cumsum([len(array) for array in self._vectors])]).astype(np.int64)

    @property
    def size(self) -> int:
        """How many documents there are."""
        return int(self._starts[-1])

    def pieces(self) -> Iterator[NDArray[Any]]:
        """The vectors of all documents, one partition at a time."""
        yield from self._vectors

    def at(self, partition: Ints, row: Ints) -> Ints:
        """(n,) numbers of documents by their addresses."""
        found: Ints = np.add(self._starts[partition], row)
        return found

    def of_ids(self, doc_ids: pa.ChunkedArray) -> Ints:
        """(n,) numbers of documents by id; −1 for those that do not exist."""
        encoded = doc_ids.combine_chunks().dictionary_encode()
        numbers = np.full(len(encoded.dictionary), -1, dtype=np.int64)
        for start, part in zip(self._starts, self._documents, strict=False):
            present = read_table(self._storage, part.file("docs.parquet"), ["doc_id"])["doc_id"].combine_chunks()
            found = pc.fill_null(pc.index_in(encoded.dictionary, value_set=present), -1).to_numpy(zero_copy_only=False)
            numbers[found >= 0] = start + found[found >= 0]
        placed: Ints = numbers[_numbers(encoded.indices)]
        return placed

    def similarities(self, queries: Floats, query: Ints, number: Ints) -> Floats:
        """Dot products one pair at a time, whose rounding depends on nothing else.

        Args:
            queries: (q, dimension) their vectors.
            query: (n,) query of each pair.
            number: (n,) document of each pair.

        Returns:
            (n,) float64; NaN where the document is gone.
        """
        found = np.full(len(query), np.nan)
        for at, vectors in enumerate(self._vectors):
            rows = np.flatnonzero((number >= self._starts[at]) & (number < self._starts[at + 1]))
            for piece in np.array_split(rows, max(1, -(-len(rows) // _PAIRS))):
                documents = np.asarray(vectors[number[piece] - self._starts[at]], dtype=np.float64)
                found[piece] = np.einsum("ij,ij->i", documents, queries[query[piece]])
        return found


@dataclass(frozen=True)
class Uses:
    """Training rows of a selection, document by document, in the order of query, stage, epoch, row and slot.

    Args:
        table: stage, epoch, row_no, query_id, positive_id, slot, doc_id of each use; slot 0 is the positive.
        query: (n,) query's row in its partition.
        row: (n,) number of the training row, from 0.
        slot: (n,) slot of each use.
        number: (n,) document's number in the corpus; −1: gone.
    """

    table: pa.Table
    query: Ints
    row: Ints
    slot: Ints
    number: Ints


def read_uses(work: Work, role: str, query_ids: pa.Array, corpus: Corpus, same_documents: bool) -> Uses:
    """The positives and negatives of a selection's training rows, for the queries that are asked for.

    Documents that a row ranks as relevant (label over 0) beside its positive are no negatives and are left out.

    Args:
        work: the job.
        role: of the parts with rows.parquet.
        query_ids: the queries.
        corpus: where the documents are looked up.
        same_documents: whether addresses hold, as the dataset version is the same; else documents are matched by id.
    """
    table = pa.concat_tables([work.part_table(part, "rows.parquet", _ROW_COLUMNS) for part in work.job.inputs[role]])
    negative = pc.less_equal(pc.fill_null(table["label"], 0.0), 0.0)
    here = pc.is_in(table["query_id"], value_set=query_ids)
    table = table.filter(pc.and_(here, pc.or_(pc.equal(table["slot"], 0), negative)))
    table = table.append_column("query", pc.index_in(table["query_id"], value_set=query_ids).cast(pa.int64()))
    names = ["query", "stage", "epoch", "row_no"]
    table = table.take(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in (*names, "slot")]))
    new = np.zeros(table.num_rows, dtype=bool)
    for name in names:
        column = _codes(table[name])
        new |= np.append(True, column[1:] != column[:-1])[: table.num_rows]
    address = _numbers(table["doc_partition"]), _numbers(table["doc_row"])
    number = corpus.at(*address) if same_documents else corpus.of_ids(table["doc_id"])
    shown = table.select(["stage", "epoch", "row_no", "query_id", "positive_id", "slot", "doc_id"])
    return Uses(shown, _numbers(table["query"]), np.cumsum(new) - 1, _numbers(table["slot"]), number)


def trained_queries(queries: pa.Table, share: float, seed: int) -> Bools:
    """Which queries checkpoints are trained on: those of split train, and those of none.

    Args:
        queries: query_id, group, split.
        share: of the groups of those, by hash; the others are not trained on.
        seed: of the hash.

    Returns:
        (queries,) the others are the control.
    """
    trained: Bools = is_trained(queries["split"]).combine_chunks().to_numpy(zero_copy_only=False)
    if share < 1:
        ids = queries["query_id"].to_pylist()
        draws = group_draws(query_groups(ids, ids, queries["group"].to_pylist()), seed)
        trained = trained & (draws.astype(np.float64) < share * 2.0**64)
    return trained


def document_codes(columns: Sequence[pa.ChunkedArray]) -> list[Ints]:
    """The ids of several columns as numbers from 0: equal ids have equal ones."""
    coded = _codes(pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string()))
    sizes = [len(column) for column in columns]
    return [coded[end - size : end] for size, end in zip(sizes, np.cumsum(sizes), strict=True)]


def _codes(column: pa.ChunkedArray) -> Ints:
    """Equal values as equal numbers."""
    return _numbers(column.combine_chunks().dictionary_encode(null_encoding="encode").indices)


def _numbers(column: pa.ChunkedArray | pa.Array) -> Ints:
    return np.asarray(column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy(), dtype=np.int64)
