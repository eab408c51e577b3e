"""Judged pairs of one query partition, and which positives are hidden as probes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.errors import InputError
from tasks.retrieve.columns import Ints, address_of
from tasks.runner.stage import Work


class Judged(NamedTuple):
    """Judged pairs of one query partition."""

    query: Ints  # row of the query
    address: Ints  # of the document
    relevance: Ints
    fold: Ints  # 0 … 99
    provenance: pa.ChunkedArray  # NULL: the source's own

    def where(self, keep: NDArray[np.bool_]) -> Judged:
        """Some of the pairs."""
        return Judged(self.query[keep], self.address[keep], self.relevance[keep], self.fold[keep], self.provenance.filter(pa.array(keep)))

    @property
    def own(self) -> NDArray[np.bool_]:
        """Labels of the source: others were found by what the pipeline emitted or scored, and would be no fair probes of it."""
        return np.asarray(self.provenance.is_null().to_numpy(), dtype=bool)


def planted_positives(query: Ints, positive: NDArray[np.bool_], fold: Ints, below: int) -> NDArray[np.bool_]:
    """Which positives are hidden as probes: those in the first folds, of queries that keep at least one such positive.

    Args:
        query: (n,) query of each judged pair.
        positive: (n,) whether it is relevant by a label of the source: reviewed and promoted positives are never probes.
        fold: (n,) 0 … 99, by hash.
        below: folds under this are hidden; of a query whose positives all lie there, the one in the last fold stays (the first of several).
    """
    hidden = positive & (fold < below)
    order = np.lexsort((np.arange(len(query)), -fold, ~positive, query))
    first = order[np.unique(query[order], return_index=True)[1]]  # the positive in the last fold, of each query that has one
    hidden[first] = False
    return hidden


def labelled_pairs(work: Work, queries: pa.Table) -> Judged:
    """The partition's judged pairs.

    Raises:
        InputError: a query is not in the partition.
    """
    qrels = work.table("queries", "qrels.parquet", ["query_id", "relevance", "fold", "doc_partition", "doc_row", "provenance"])
    row = pc.index_in(qrels["query_id"], value_set=queries["query_id"].combine_chunks())
    if row.null_count:
        raise InputError(f"{row.null_count} judged pairs name queries that are not in their partition", "ingest the dataset again")
    address = address_of(qrels["doc_partition"].to_numpy(), qrels["doc_row"].to_numpy())
    relevance, fold = (qrels[name].to_numpy().astype(np.int64) for name in ("relevance", "fold"))
    return Judged(row.to_numpy().astype(np.int64), address, relevance, fold, qrels["provenance"])
