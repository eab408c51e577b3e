"""In-batch false negatives: how often another row's document is relevant to a row's query, in the batches as they are trained.

Two units that are easily mixed: the share of *pairs* (query, other row's document) that are relevant, and the share of *rows* with at
least one such document. With 48 rows a batch and 77 equal topics, 1.3 % of the pairs are relevant and 46 % of the rows are hit.
Exact with a truth; see in_batch_strata.py for what to do without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from tasks.errors import InputError, UsageError
from tasks.settings import Settings
from tasks.truth.intervals import Codes, Floats, Interval, proportion

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
        size: rows a batch; the last may be shorter.
    """

    query_ids: pa.Array
    doc_ids: pa.Array
    query: Codes
    positive: Codes
    negatives: Codes
    size: int


class InBatch(Settings):
    """What the batches hold."""

    kind: Kind = Field(description="Other rows' positives, or other rows' mined negatives.")
    estimator: str
    batch_size: int
    rows: int
    pairs: int = Field(description="Pairs of a query and another row's document.")
    pair_share: Interval = Field(description="Share of the pairs that are relevant.")
    row_share: Interval = Field(description="Share of the rows with at least one relevant pair.")


def batches(rows: pa.Table, size: int) -> Batches:
    """Batches of training rows.

    Args:
        rows: query_id, positive_id and optional negatives (list of doc_id), in batch order.
        size: rows a batch.

    Raises:
        InputError: no rows.
        UsageError: a batch of fewer than two rows has no other row.
    """
    if size < 2:
        raise UsageError(f"a batch of {size} has no other row", "give the training's batch size, 2 or more")
    if not rows.num_rows:
        raise InputError("there are no training rows", "select negatives first")
    lists = rows["negatives"].combine_chunks() if "negatives" in rows.column_names else pa.nulls(rows.num_rows, pa.list_(pa.string()))
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    flat = lists.flatten()
    documents = pa.concat_arrays([rows["positive_id"].combine_chunks().cast(pa.string()), flat.cast(pa.string())]).dictionary_encode()
    queries = rows["query_id"].combine_chunks().dictionary_encode()
    places = documents.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    negatives = np.full((rows.num_rows, int(counts.max())), -1, dtype=np.int64)
    negatives[np.arange(negatives.shape[1]) < counts[:, None]] = places[rows.num_rows :]
    query = queries.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return Batches(queries.dictionary, documents.dictionary, query, places[: rows.num_rows], negatives, size)


def by_truth(given: Batches, relevant: pa.Table) -> PairFunction:
    """1 for pairs that a judged truth lists (query_id, doc_id), else 0."""
    query, doc = (pc.index_in(relevant[name], value_set=ids) for name, ids in (("query_id", given.query_ids), ("doc_id", given.doc_ids)))
    table = pa.table({"query": query, "doc": doc}).drop_null()
    width = len(given.doc_ids)
    known = np.unique(table["query"].to_numpy().astype(np.int64) * width + table["doc"].to_numpy())

    def relevance(query: Codes, doc: Codes) -> Floats:
        return np.isin(query * width + doc, known).astype(np.float64)

    return relevance


def in_batch(
    given: Batches,
    relevance: PairFunction,
    kind: Kind = "positives",
    estimator: str = "truth",
    level: float = 0.95,
    rows_counted: NDArray[np.bool_] | None = None,
) -> InBatch:
    """Shares of pairs and of rows, with intervals over batches.

    Args:
        given: the batches.
        relevance: of :func:`by_truth`, or a probability; a row is then hit with 1 − Π(1 − p), as if its pairs were independent.
        kind: other rows' positives, or their mined negatives. A document that is the row's own positive too counts as relevant if it is.
        estimator: what the relevance rests on.
        level: confidence.
        rows_counted: (rows,) whose queries count (those that are judged); none: all. The others' documents are in the batches all the same.
    """
    rows = len(given.query)
    relevant, missed, number = np.zeros(rows), np.zeros(rows), np.zeros(rows)
    for row, doc in pairs(given, kind):
        if rows_counted is not None:
            row, doc = row[rows_counted[row]], doc[rows_counted[row]]
        share = relevance(given.query[row], doc)
        relevant += np.bincount(row, share, rows)
        number += np.bincount(row, minlength=rows)
        with np.errstate(divide="ignore"):
            missed += np.bincount(row, np.log1p(-share), rows)
    if not number.any():
        raise InputError("no row shares its batch with another document", "measure on more rows, or on rows with negatives")
    batch = np.arange(rows) // given.size
    have = (number > 0).astype(np.float64)
    return InBatch(
        kind=kind,
        estimator=estimator,
        batch_size=given.size,
        rows=rows if rows_counted is None else int(rows_counted.sum()),
        pairs=int(number.sum()),
        pair_share=proportion(relevant, number, batch, level),
        row_share=proportion(-np.expm1(missed) * have, have, batch, level),
    )


def pairs(given: Batches, kind: Kind) -> Iterator[tuple[Codes, Codes]]:
    """All pairs, in blocks of whole batches: the row whose query it is, and the place of the other row's document."""
    columns = given.positive[:, None] if kind == "positives" else given.negatives
    rows, size, width = len(given.query), given.size, columns.shape[1]
    block = size * max(1, _BLOCK // max(size * size * width, 1))
    for start in range(0, rows, block):
        row = np.arange(start, min(start + block, rows))
        other = (row // size * size)[:, None] + np.arange(size)
        mine, place = np.nonzero((other < rows) & (other != row[:, None]))
        docs = columns[other[mine, place]]
        taken = docs >= 0
        yield np.repeat(row[mine], taken.sum(axis=1)), docs[taken]
