"""Candidates as a recipe judges them: sorted, numbered, with uniform numbers, and once for each positive where that is asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.schema import score_columns
from tasks.select.columns import needed
from tasks.select.compose import own_scores, pairs_sql, uniform_column
from tasks.select.draws import Top
from tasks.select.randomness import id_hashes, uniform
from tasks.select.recipe import Recipe
from tasks.sql import run as run_sql

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Base:
    """What is judged: n places, each a candidate (for one positive, if the recipe compares with the row's own).

    Args:
        table: the candidates, sorted by query_id and doc_id.
        view: n rows that SQL reads.
        row: (n,) row of the table.
        anchor: (n,) row of the positive that it is judged for; -1: for all.
        group: (n,) number of the query (and positive), ascending from 0.
        groups: how many there are.
        positive: (n,) whether the candidate is a labelled positive.
        best: (n,) the places by group, then ``rank_by`` highest first, then doc_id.
    """

    table: pa.Table
    view: pa.Table
    row: Ints
    anchor: Ints
    group: Ints
    groups: int
    positive: Bools
    best: Ints


def prepare(scored: pa.Table, recipe: Recipe, seed: int) -> pa.Table:
    """Sort by query_id and doc_id, and add what the SQL refers to: uniform numbers, and empty columns for sources that a round lacks."""
    table = in_order(scored.combine_chunks())
    for source in recipe.needs.sources:
        for column, kind in ((f"{source}_rank", pa.int32()), (f"{source}_score", pa.float32())):
            if column not in table.column_names:
                table = table.append_column(column, pa.nulls(table.num_rows, kind))
    random = [draw for draw in recipe.draws if not isinstance(draw.order, Top)]
    if random:
        query, doc = id_hashes(table["query_id"]), id_hashes(table["doc_id"])
        for draw in random:
            table = table.append_column(uniform_column(draw), pa.array(uniform(["draw", seed, draw.stage, draw.name], query, doc)))
    return table


def base_of(table: pa.Table, recipe: Recipe, sources: list[str]) -> Base:
    """Number the candidates.

    Args:
        table: from :func:`prepare`.
        recipe: says whether each positive is judged for apart, and what ranks.
        sources: the round's.
    """
    words = recipe.words
    query = encode(table["query_id"])
    if recipe.per_positive:
        names = [name for name in table.column_names if name in needed(words, table.column_names) or name.startswith("u_")]
        own = own_scores(words, [name for name in score_columns(sources) if name in table.column_names])
        numbered = table.append_column("_row", pa.array(np.arange(table.num_rows)))
        view = run_sql(pairs_sql(names, own), {"scored": numbered})
        row, anchor = integers(view["_row"]), integers(view["_anchor"])
        pair = query[row] * (table.num_rows + 1) + anchor + 1
        group = np.cumsum(np.append(0, pair[1:] != pair[:-1])).astype(np.int64) if len(pair) else pair
    else:
        view = table if "anchor" not in words else table.append_column("anchor", pa.repeat(pa.scalar(""), table.num_rows))
        row, anchor, group = np.arange(table.num_rows), np.full(table.num_rows, -1), query
    view = view.append_column("_place", pa.array(np.arange(len(row)))).append_column("_group", pa.array(group))
    return Base(
        table=table,
        view=view,
        row=row,
        anchor=anchor,
        group=group,
        groups=int(group[-1]) + 1 if len(group) else 0,
        positive=pc.fill_null(table["is_positive"], False).to_numpy()[row],
        best=_best(group, view[recipe.rank_by]),
    )


def among(table: pa.Table, pairs: pa.Table | None) -> Bools:
    """Which rows of a table have a (query_id, doc_id) of some pairs."""
    marks: Bools = np.zeros(table.num_rows, np.bool_)
    if pairs is not None and pairs.num_rows:
        numbered = table.select(["query_id", "doc_id"]).append_column("_row", pa.array(np.arange(table.num_rows)))
        found = run_sql("SELECT _row FROM candidates SEMI JOIN pairs USING (query_id, doc_id)", {"candidates": numbered, "pairs": pairs})
        marks[integers(found["_row"])] = True
    return marks


def encode(column: pa.ChunkedArray) -> Ints:
    """Numbers that are equal where the values are, in the order of first occurrence; -1: NULL."""
    codes: Ints = pc.fill_null(column.combine_chunks().dictionary_encode().indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def integers(column: pa.ChunkedArray) -> Ints:
    """An integer column without NULL as an array."""
    values: Ints = column.to_numpy().astype(np.int64)
    return values


def counted(numbers: Ints) -> Ints:
    """0, 1, 2, … within each run of equal numbers.

    >>> counted(np.array([4, 4, 4, 7, 9, 9])).tolist()
    [0, 1, 2, 0, 0, 1]
    """
    new = np.append(True, numbers[1:] != numbers[:-1])[: len(numbers)]
    starts = np.flatnonzero(new)
    places: Ints = np.arange(len(numbers)) - np.repeat(starts, np.diff(np.append(starts, len(numbers))))
    return places


def _best(group: Ints, score: pa.ChunkedArray) -> Ints:
    """Places by group, then score from the highest, NULL last, then place."""
    values = score.cast(pa.float64()).to_numpy()
    order: Ints = np.lexsort((-values, np.isnan(values), group))
    return order


def in_order(table: pa.Table) -> pa.Table:
    """A table sorted by query_id and doc_id, as it is if it already was."""
    if table.num_rows < 2:
        return table
    query, doc = table["query_id"], table["doc_id"]
    up = pc.less(query[:-1], query[1:])
    within = pc.and_(pc.equal(query[:-1], query[1:]), pc.less_equal(doc[:-1], doc[1:]))
    if pc.all(pc.or_(up, within)).as_py():
        return table
    return table.take(pc.sort_indices(table, sort_keys=[("query_id", "ascending"), ("doc_id", "ascending")])).combine_chunks()
