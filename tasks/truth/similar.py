"""Similarities of pairs that are no candidates: products of the stored vectors.

One pair at a time, without a matrix library, so that the rounding depends on nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.intervals import Codes, Floats
from tasks.store.vectors import Addressed
from tasks.truth.in_batch import Batches, PairFunction
from tasks.truth.selected import Flags, Selected

_PAIRS = 512  # at a time: their vectors stay in the processor's cache
_QUERIES, _DOCUMENTS = 1000, 2000  # of a sample


@dataclass(frozen=True)
class Similar:
    """Vectors of n candidates' queries and documents, by address.

    Args:
        queries: vectors of queries.
        documents: vectors of documents.
        part: (n,) the query's partition.
        query_row: (n,) its row there.
        doc_partition: (n,) the document's partition.
        doc_row: (n,) its row there.
        sizes: (partitions,) documents of each.
    """

    queries: Addressed
    documents: Addressed
    part: Codes
    query_row: Codes
    doc_partition: Codes
    doc_row: Codes
    sizes: Codes

    def of_batches(self, selected: Selected, given: Batches) -> PairFunction:
        """Similarity of the batches' queries and positives."""
        asked = _first(selected.scored["query_id"], given.query_ids)
        told = _first(selected.scored["doc_id"], given.doc_ids)
        left = self.queries(self.part[asked], self.query_row[asked])
        right = self.documents(self.doc_partition[told], self.doc_row[told])

        def similarity(query: Codes, doc: Codes) -> Floats:
            found = np.empty(len(query))
            for start in range(0, len(query), _PAIRS):
                block = slice(start, start + _PAIRS)
                found[block] = np.einsum("ij,ij->i", left[query[block]], right[doc[block]])
            return found

        return similarity

    def sample(self, query: Codes, queries: Flags, taken: Flags, seed: int) -> tuple[Floats, float]:
        """Pairs of some queries and any document, less some candidates.

        Args:
            query: (n,) place of each candidate's query.
            queries: (queries,) whose pairs.
            taken: (n,) candidates that are left out.
            seed: of the draw of queries and documents.

        Returns:
            Similarities of sampled pairs, and how many pairs they stand for.
        """
        generator = np.random.default_rng(seed)
        asked = _drawn(np.flatnonzero(queries), _QUERIES, generator)
        total = int(self.sizes.sum())
        told = _drawn(np.arange(total), _DOCUMENTS, generator)
        starts = np.cumsum(self.sizes) - self.sizes
        partition = np.searchsorted(np.cumsum(self.sizes), told, side="right").astype(np.int64)
        row = np.unique(query, return_index=True)[1][asked]
        vectors = self.documents(partition, told - starts[partition])
        found = np.einsum("qd,nd->qn", self.queries(self.part[row], self.query_row[row]), vectors).astype(np.float64)
        document = starts[self.doc_partition[taken]] + self.doc_row[taken]
        at, to = _place(asked, query[taken]), _place(told, document)
        left = np.ones(found.shape, dtype=bool)
        left[at[(at >= 0) & (to >= 0)], to[(at >= 0) & (to >= 0)]] = False
        return found[left], float(left.mean() * queries.sum() * total)


def _first(column: pa.ChunkedArray, ids: pa.Array) -> Codes:
    """The first row of each id."""
    return np.asarray(pc.index_in(ids, value_set=column.combine_chunks()).to_numpy(zero_copy_only=False), dtype=np.int64)


def _drawn(values: Codes, most: int, generator: np.random.Generator) -> Codes:
    return np.sort(generator.choice(values, most, replace=False)) if len(values) > most else values


def _place(values: Codes, wanted: Codes) -> Codes:
    """Place of each wanted one among sorted values; -1: it is not there."""
    place = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    return np.where(values[place] == wanted, place, -1).astype(np.int64)
