"""In-batch false negatives: how often another row's document is relevant to a row's query, in the batches as they are trained.

Two units that are easily mixed: the share of *pairs* (query, other row's document) that are relevant, and the share of *rows* with at
least one such document. With 48 rows a batch and 77 equal topics, 1.3 % of the pairs are relevant and 46 % of the rows are hit.
Exact with a truth; see in_batch_estimate.py for what to do without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import InputError, UsageError
from tasks.intervals import Codes, Floats

Kind = Literal["positives", "negatives"]
PairFunction = Callable[[Codes, Codes], Floats]  # places of queries and documents → a number for each pair
_BLOCK = 2_000_000  # pairs at a time


@dataclass(frozen=True)
class Batches:
    """Training rows in the order of the sampler, as places in lists of ids.

    Args:
        query_ids: distinct, as ``query`` counts them.
        doc_ids: distinct, as ``positive`` and ``negatives`` count them.
        query: (rows,) place of each row's query.
        positive: (rows,) place of its positive.
        negatives: (rows, width) places of its mined negatives, −1 where a row has fewer.
        size: rows a batch, as asked for.
        starts: (batches + 1,) first row of each batch, and the end.
    """

    query_ids: pa.Array
    doc_ids: pa.Array
    query: Codes
    positive: Codes
    negatives: Codes
    size: int
    starts: Codes

    @cached_property
    def batch(self) -> Codes:
        """(rows,) the batch of each row."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


@dataclass(frozen=True)
class RowCounts:
    """What each row meets in its batch.

    Args:
        relevant: (rows,) relevant pairs, or their expected number.
        pairs: (rows,) pairs of known relevance, or of a probability.
        hit: (rows,) probability of at least one relevant pair, as if pairs were independent.
    """

    relevant: Floats
    pairs: Floats
    hit: Floats


def batches(rows: pa.Table, size: int, steps: Sequence[Codes] | None = None) -> Batches:
    """Batches of training rows.

    Args:
        rows: query_id, positive_id and optional negatives (list of doc_id).
        size: rows a batch.
        steps: rows of each batch, as :func:`tasks.models.samples.shuffled` plans them; none: the rows in order, the last batch may be
            shorter.

    Raises:
        InputError: no rows.
        UsageError: a batch of fewer than two rows has no other row.
    """
    if size < 2:
        raise UsageError(f"a batch of {size} has no other row", "give the training's batch size, 2 or more")
    if not rows.num_rows:
        raise InputError("there are no training rows", "select negatives first")
    starts = np.append(np.arange(0, rows.num_rows, size), rows.num_rows)
    if steps is not None:
        rows = rows.take(pa.array(np.concatenate(steps)))
        starts = np.concatenate([[0], np.cumsum([len(step) for step in steps])])
    lists = rows["negatives"].combine_chunks() if "negatives" in rows.column_names else pa.nulls(rows.num_rows, pa.list_(pa.string()))
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = lists.flatten()
    documents = pa.concat_arrays([rows["positive_id"].combine_chunks().cast(pa.string()), flat.cast(pa.string())]).dictionary_encode()
    queries = rows["query_id"].combine_chunks().dictionary_encode()
    places = documents.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    negatives = np.full((rows.num_rows, int(counts.max())), -1, dtype=np.int64)
    negatives[np.arange(negatives.shape[1]) < counts[:, None]] = places[rows.num_rows :]
    query = queries.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return Batches(queries.dictionary, documents.dictionary, query, places[: rows.num_rows], negatives, size, starts.astype(np.int64))


def some(given: Batches, rows: int, seed: int) -> Batches:
    """Whole batches, drawn, of no more rows than asked for, one batch at least; the same ids."""
    if len(given.query) <= rows:
        return given
    sizes = np.diff(given.starts)
    drawn = np.random.default_rng(seed).permutation(len(sizes))
    kept = np.sort(drawn[: max(int((np.cumsum(sizes[drawn]) <= rows).sum()), 1)])
    mine = np.isin(given.batch, kept)
    starts = np.concatenate([[0], np.cumsum(sizes[kept])])
    return replace(given, query=given.query[mine], positive=given.positive[mine], negatives=given.negatives[mine], starts=starts)


def by_truth(given: Batches, relevant: pa.Table, unknown: pa.Table | None = None) -> PairFunction:
    """1 for pairs that a judged truth lists (query_id, doc_id), NaN for those of which it says nothing, else 0."""
    known = _keys(given, relevant)
    open_ = _keys(given, unknown) if unknown is not None else known[:0]
    width = len(given.doc_ids)

    def relevance(query: Codes, doc: Codes) -> Floats:
        pair = query * width + doc
        found = np.isin(pair, known).astype(np.float64)
        if len(open_):
            found[(found == 0) & np.isin(pair, open_)] = np.nan
        return found

    return relevance


def row_counts(given: Batches, relevance: PairFunction, kind: Kind = "positives") -> RowCounts:
    """Relevant and all pairs of each row; pairs of unknown relevance (NaN) are left out.

    Args:
        given: the batches.
        relevance: of :func:`by_truth`, or a probability; a row is then hit with 1 − Π(1 − p), as if its pairs were independent.
        kind: other rows' positives, or their mined negatives. A document that is the row's own positive too counts as relevant if it is.
    """
    rows = len(given.query)
    relevant, missed, number = np.zeros(rows), np.zeros(rows), np.zeros(rows)
    for row, doc in pairs(given, kind):
        share = relevance(given.query[row], doc)
        known = np.isfinite(share)
        if not known.all():
            row, share = row[known], share[known]
        relevant += np.bincount(row, share, rows)
        number += np.bincount(row, minlength=rows)
        with np.errstate(divide="ignore"):
            missed += np.bincount(row, np.log1p(-share), rows)
    return RowCounts(relevant, number, -np.expm1(missed))


def pairs(given: Batches, kind: Kind) -> Iterator[tuple[Codes, Codes]]:
    """All pairs, in blocks of whole batches: the row whose query it is, and the place of the other row's document."""
    columns = given.positive[:, None] if kind == "positives" else given.negatives
    number, width = len(given.starts) - 1, columns.shape[1]
    longest = int(np.diff(given.starts).max())
    block = max(1, _BLOCK // max(longest * longest * width, 1))
    for first in range(0, number, block):
        row = np.arange(given.starts[first], given.starts[min(first + block, number)])
        own = given.batch[row]
        other = given.starts[own][:, None] + np.arange(longest)
        mine, place = np.nonzero((other < given.starts[own + 1][:, None]) & (other != row[:, None]))
        docs = columns[other[mine, place]]
        taken = docs >= 0
        yield np.repeat(row[mine], taken.sum(axis=1)), docs[taken]


def _keys(given: Batches, pairs_: pa.Table) -> Codes:
    """Pairs (query_id, doc_id) as numbers, sorted; those that are not in the batches are left out."""
    query, doc = (pc.index_in(pairs_[name], value_set=ids) for name, ids in (("query_id", given.query_ids), ("doc_id", given.doc_ids)))
    table = pa.table({"query": query, "doc": doc}).drop_null()
    return np.unique(table["query"].to_numpy().astype(np.int64) * len(given.doc_ids) + table["doc"].to_numpy())
