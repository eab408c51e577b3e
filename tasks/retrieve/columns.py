"""Columns of the candidates' table, from numbers: see :mod:`tasks.retrieve.candidates`. Pure array work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.retrieve.ranking import ranks

ROW_BITS = 40

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Ranked = tuple[Ints, Ints, Floats, NDArray[np.int32]]
#: of a source that found no pair
NOTHING: Ranked = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int32))


def base_columns(queries: pa.Table, texts: pa.Table, query: Ints, doc: Ints, address: Ints) -> dict[str, Any]:
    """Ids, addresses and hashes of each pair."""
    rows, places = pa.array(query), pa.array(doc)
    return {
        "query_id": queries["query_id"].take(rows),
        "doc_id": texts["doc_id"].take(places),
        "query_row": rows,
        "doc_partition": pa.array(partition_of(address)),
        "doc_row": pa.array(row_of(address)),
        "query_hash": queries["input_hash"].take(rows),
        "doc_hash": texts["input_hash"].take(places),
    }


def label_columns(count: int, where: Ints, relevance: Ints, positive: NDArray[np.bool_], planted: NDArray[np.bool_]) -> dict[str, Any]:
    """What the labels say of each pair; NULL relevance: nothing."""
    grades, unlabelled = np.zeros(count, dtype=np.int32), np.ones(count, dtype=bool)
    is_positive, is_planted = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    grades[where], unlabelled[where] = relevance, False
    is_positive[where], is_planted[where] = positive, planted
    return {"relevance": pa.array(grades, mask=unlabelled), "is_positive": pa.array(is_positive), "planted": pa.array(is_planted)}


def inverse(count: int, where: Ints) -> pa.Array:
    """(count,) the place in ``where`` of each number; NULL: it is not there."""
    place, missing = np.zeros(count, dtype=np.int64), np.ones(count, dtype=bool)
    place[where], missing[where] = np.arange(len(where)), False
    return pa.array(place, mask=missing)


def source_columns(name: str, count: int, where: Ints, ranked: Ranked, products: Floats | None, doc: Ints) -> dict[str, Any]:
    """Rank and score of one source; NULL where it did not find the pair, or has no score.

    Args:
        name: of the source.
        count: pairs.
        where: (n,) which of them it found.
        ranked: (n,) each: query, document, score (NaN: none) and rank.
        products: (count,) the score of every pair by the source's own vectors, by which it is ranked then; none: it has no vectors.
        doc: (count,) documents by id, which break ties.
    """
    query, _, score, rank = ranked
    missing = np.ones(count, dtype=bool)
    missing[where] = False
    placed, scores = np.zeros(count, dtype=np.int32), np.full(count, np.nan, dtype=np.float32)
    placed[where], scores[where] = rank, score
    column = pa.array(scores, mask=missing | np.isnan(scores))
    if products is not None:
        placed[where] = ranks(query, products[where], doc[where])
        column = pa.array(products)
    elif name == "random":
        column = pa.nulls(count, pa.float32())
    return {f"{name}_rank": pa.array(placed, mask=missing), f"{name}_score": column}


def facts(table: pa.Table, sources: Sequence[str]) -> dict[str, Any]:
    """Rows, positives, and how many of these each source retrieved."""
    positive = table.filter(table["is_positive"])
    retrieved = {name: positive.num_rows - positive[f"{name}_rank"].null_count for name in sources}
    planted = table.num_rows and int(pc.sum(table["planted"]).as_py())
    return {"rows": table.num_rows, "positives": positive.num_rows, "positives_retrieved": retrieved, "planted": planted}


def address_of(partition: NDArray[Any], row: NDArray[Any]) -> Ints:
    """One number for a document's place."""
    return (partition.astype(np.int64) << ROW_BITS) | row.astype(np.int64)


def partition_of(address: Ints) -> NDArray[np.int32]:
    """The partition of an address."""
    return (address >> ROW_BITS).astype(np.int32)


def row_of(address: Ints) -> Ints:
    """The row of an address."""
    return address & ((1 << ROW_BITS) - 1)
