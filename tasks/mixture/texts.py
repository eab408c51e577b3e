"""Which texts rows hold and which they are about, as numbers: what must not meet in a batch. Arrays and tables in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
_QUERY = np.uint64(0x9E3779B97F4A7C15)  # a query's text is another thing than the same text as a document


@dataclass(frozen=True)
class Entries:
    """What rows have to do with texts; each (row, key) once.

    Args:
        row: (e,) number of the row.
        key: (e,) the text, as a number from 0.
        wanted: (e,) bool: it is the row's query, or relevant to it: on no other row of a batch.
        held: (e,) bool: the row has it, as query, positive or negative.
        query: (rows,) number of each row's query, by its text.
    """

    row: Ints
    key: Ints
    wanted: NDArray[np.bool_]
    held: NDArray[np.bool_]
    query: Ints

    def __len__(self) -> int:
        return len(self.row)

    def take(self, kept: NDArray[np.bool_]) -> Entries:
        """Some of the entries, of as many rows."""
        return Entries(self.row[kept], self.key[kept], self.wanted[kept], self.held[kept], self.query)


@dataclass(frozen=True)
class Texts:
    """Texts by id, both as 64-bit hashes, sorted by the id's.

    Args:
        ids: (n,) ascending.
        texts: (n,).
    """

    ids: Words
    texts: Words

    @classmethod
    def of(cls, names: pa.ChunkedArray, norm_hash: pa.ChunkedArray) -> Texts:
        """From ids and the hashes of their normalised texts."""
        ids = hashed(names)
        order = np.argsort(ids, kind="stable")
        return cls(ids[order], hashed(norm_hash)[order])

    def named(self, ids: Words) -> Words:
        """The texts of some ids; of one that is unknown, as of a written negative, the id stands for its text."""
        if not len(self.ids):
            return ids
        place = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[place] == ids, self.texts[place], ids)


@dataclass(frozen=True)
class Corpus:
    """One dataset's texts, and what is labelled relevant.

    Args:
        documents: texts of documents.
        queries: texts of queries.
        asked: (p,) ascending: hashed query id of each labelled positive.
        relevant: (p,) hashed text of that positive.
    """

    documents: Texts
    queries: Texts
    asked: Words
    relevant: Words

    @classmethod
    def of(cls, documents: pa.Table, queries: pa.Table, positives: pa.Table) -> Corpus:
        """From doc_id and norm_hash, query_id and norm_hash, and query_id and doc_id of the labelled positives."""
        known = Texts.of(documents["doc_id"], documents["norm_hash"])
        asked = hashed(positives["query_id"])
        order = np.argsort(asked, kind="stable")
        relevant = known.named(hashed(positives["doc_id"]))
        return cls(known, Texts.of(queries["query_id"], queries["norm_hash"]), asked[order], relevant[order])

    def entries(self, sidecar: pa.Table) -> Entries:
        """Of some training rows, by their sidecar (query_id, positive_ids, negative_ids).

        A query's positives are its labelled ones, and those of all its rows here.
        """
        asked = hashed(sidecar["query_id"])
        own, positive = self._listed(sidecar["positive_ids"])
        other, negative = self._listed(sidecar["negative_ids"])
        query = self.queries.named(asked) ^ _QUERY
        every = np.arange(len(asked))
        about, relevant = self._relevant(asked, np.concatenate([self.asked, asked[own]]), np.concatenate([self.relevant, positive]))
        rows = np.concatenate([every, about, own, other])
        texts = np.concatenate([query, relevant, positive, negative])
        wanted = np.arange(len(rows)) < len(every) + len(about) + len(own)
        held = (np.arange(len(rows)) < len(every)) | (np.arange(len(rows)) >= len(every) + len(about))
        _, key = np.unique(texts, return_inverse=True)
        _, number = np.unique(query, return_inverse=True)
        return _once(rows.astype(np.int64), key.reshape(-1).astype(np.int64), wanted, held, number.reshape(-1).astype(np.int64))

    def _listed(self, lists: pa.ChunkedArray) -> tuple[Ints, Words]:
        """Row and text of each member of a column of lists of document ids."""
        whole = lists.combine_chunks()
        return pc.list_parent_indices(whole).to_numpy().astype(np.int64), self.documents.named(hashed(pc.list_flatten(whole)))

    def _relevant(self, rows: Words, asked: Words, relevant: Words) -> tuple[Ints, Words]:
        """Each row with each text that is relevant to its query."""
        order = np.argsort(asked, kind="stable")
        asked, relevant = asked[order], relevant[order]
        first, last = np.searchsorted(asked, rows, side="left"), np.searchsorted(asked, rows, side="right")
        count = last - first
        place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
        return np.repeat(np.arange(len(rows)), count), relevant[place]


def hashed(names: pa.ChunkedArray | pa.Array) -> Words:
    """Strings as 64-bit hashes (SipHash with pandas' fixed key)."""
    found: Words = pd.util.hash_array(np.asarray(names.to_pylist(), dtype=object), categorize=False)
    return found


def _once(row: Ints, key: Ints, wanted: NDArray[np.bool_], held: NDArray[np.bool_], query: Ints) -> Entries:
    """Entries of one row and key as one."""
    order = np.lexsort((key, row))
    row, key, wanted, held = row[order], key[order], wanted[order], held[order]
    new = np.ones(len(row), dtype=bool)
    new[1:] = (row[1:] != row[:-1]) | (key[1:] != key[:-1])
    starts = np.flatnonzero(new)
    if not len(starts):
        return Entries(row, key, wanted, held, query)
    return Entries(row[starts], key[starts], np.logical_or.reduceat(wanted, starts), np.logical_or.reduceat(held, starts), query)
