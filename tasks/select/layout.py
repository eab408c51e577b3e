"""Decisions and training rows as tables, from what was decided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.schema import DECISIONS, ROWS
from tasks.select.base import Base, Bools, Ints, encode
from tasks.select.decide import Decided, Drawn
from tasks.select.randomness import id_hashes, uniform
from tasks.select.recipe import Recipe, RowOrder
from tasks.select.rules.judged import JudgedRelevant

KINDS = ("positive", "pseudo_positive", "negative", "unscored", "rejected", "not_drawn")
_POSITIVE, _PSEUDO, _NEGATIVE, _UNSCORED, _REJECTED, _NOT_DRAWN = range(len(KINDS))


@dataclass(frozen=True)
class Anchors:
    """Training rows of a stage, in their order.

    Args:
        row: (rows,) row of the positive in the candidates' table.
        group: (rows,) the group whose negatives it gets.
    """

    row: Ints
    group: Ints


def kinds(decided: Decided, drawn: Drawn) -> Ints:
    """(n,) number of each candidate's decision in :data:`KINDS`."""
    rejected = np.where(decided.reasons.where(lambda listed: listed == ("unscored",)), _UNSCORED, _REJECTED)
    kind = np.where(decided.reasons.count > 0, rejected, _NOT_DRAWN)
    kind[drawn.draw >= 0] = _NEGATIVE
    kind[decided.pseudo] = _PSEUDO
    kind[decided.base.positive] = _POSITIVE
    return kind


def dropped_pairs(decided: Decided, recipe: Recipe) -> Bools:
    """(rows of the table,) the positives of queries that get no training row, since a judge calls one of their candidates relevant."""
    base = decided.base
    marks: Bools = np.zeros(base.table.num_rows, np.bool_)
    names = {rule.name for rule in recipe.rules if isinstance(rule, JudgedRelevant) and rule.drop_pair}
    if names:
        judged = decided.reasons.where(lambda listed: bool(names & set(listed)))
        inside = np.isin(base.group, base.group[judged]) & (base.positive | decided.pseudo)
        marks[base.row[inside]] = True
    return marks


def decisions_table(decided: Decided, drawn: Drawn, capped: Bools, selection: str, dropped: Bools) -> pa.Table:
    """:data:`tasks.schema.DECISIONS` of one stage, sorted by query_id, positive_id, doc_id.

    Args:
        decided: the candidates.
        drawn: what the stage took.
        capped: (rows of the table,) positives that get no training row.
        selection: the selection's id.
        dropped: those of ``capped`` that a judge is the reason for.
    """
    base, reasons = decided.base, decided.reasons
    kind = kinds(decided, drawn)
    cap, judged = capped[base.row] & (kind <= _PSEUDO), dropped[base.row] & (kind <= _PSEUDO)
    reasons = reasons.add(cap & ~judged, "positive_cap").add(judged, "judged_pair").add(drawn.passed & (kind == _NOT_DRAWN), "diversity")
    size, negative = len(kind), kind == _NEGATIVE
    columns = {
        "selection_id": _constant(selection, size),
        "stage": _constant(drawn.stage, size),
        "query_id": _take(base, "query_id", base.row),
        "doc_id": _take(base, "doc_id", base.row),
        "positive_id": _take(base, "doc_id", base.anchor),
        "decision": _named(KINDS, kind),
        "reason": _reason(kind, cap, judged, reasons.lists, reasons.code),
        "reasons": reasons.table(),
        "survivor_rank": pa.array(decided.survivor_rank, pa.int32(), mask=decided.survivor_rank == 0),
        "draw": _named(tuple(draw.name for draw in drawn.draws), drawn.draw),
        "slot": pa.array(drawn.slot, pa.int32(), mask=~negative),
        "label": pa.array(drawn.label, mask=~negative),
        "weight": pa.array(drawn.weight),
    }
    return pa.table(columns).select(DECISIONS.names).cast(DECISIONS)


def anchors(decided: Decided, capped: Bools, order: RowOrder, seed: int) -> Anchors:
    """The training rows of a selection: each positive that has not reached its cap, in hashed or clustered order."""
    base = decided.base
    judged_for = base.anchor if (base.anchor >= 0).any() else base.row
    wanted = (base.positive | decided.pseudo) & (judged_for == base.row) & ~capped[base.row]
    place = np.flatnonzero(wanted)
    row = base.row[place]
    chosen = base.table.take(pa.array(row))
    query, doc = id_hashes(chosen["query_id"]), id_hashes(chosen["doc_id"])
    hashed = np.lexsort((row, uniform(["rows", seed], query, doc)))
    if order.kind == "clustered":
        hashed = hashed[
            clustered(encode(chosen["query_cluster"])[hashed], uniform(["batches", seed], query, doc)[hashed], order.batch_size)
        ]
    return Anchors(row[hashed], base.group[place][hashed])


def clustered(cluster: Ints, u: NDArray[np.float64], batch_size: int) -> Ints:
    """Order rows so that batches hold queries of one cluster (TAS-Balanced, Hofstätter et al. 2021, arXiv:2104.06967; certainty: code).

    Args:
        cluster: (rows,) cluster of each row, in hashed order.
        u: (rows,) uniform numbers; a batch goes by that of its first row.
        batch_size: rows of a batch.

    Returns:
        (rows,) the order: whole batches first, by hash; then what is left of each cluster, by hash.

    >>> clustered(np.array([1, 2, 1, 2, 1]), np.array([0.9, 0.1, 0.3, 0.2, 0.4]), 2).tolist()
    [1, 3, 0, 2, 4]
    """
    by_cluster = np.argsort(cluster, kind="stable")
    inside = cluster[by_cluster]
    new = np.append(True, inside[1:] != inside[:-1])[: len(inside)]
    start = np.flatnonzero(new)
    size = np.diff(np.append(start, len(inside)))
    place = np.arange(len(inside)) - np.repeat(start, size)
    first = np.repeat(start, size) + place // batch_size * batch_size
    whole = place // batch_size * batch_size + batch_size <= np.repeat(size, size)
    order: Ints = by_cluster[np.lexsort((place, first, u[by_cluster][first], ~whole))]
    return order


def rows_table(decided: Decided, drawn: Drawn, rows: Anchors, selection: str) -> pa.Table:
    """:data:`tasks.schema.ROWS` of one stage, sorted by row_no and slot: slot 0 is the positive, then negatives, hardest first."""
    base = decided.base
    place = base.best[(drawn.slot > 0)[base.best]]
    count = np.bincount(base.group[place], minlength=base.groups).astype(np.int64)
    start = np.cumsum(count) - count
    size = 1 + count[rows.group]
    row_no = np.repeat(np.arange(len(size)), size)
    slot = np.arange(len(row_no)) - np.repeat(np.cumsum(size) - size, size)
    negative = place[(start[rows.group][row_no] + slot - 1)[slot > 0]]
    document = rows.row[row_no]
    document[slot > 0] = base.row[negative]
    label, weight = np.ones(len(slot), np.float32), np.ones(len(slot), np.float32)
    label[slot > 0], weight[slot > 0] = drawn.label[negative], drawn.weight[negative]
    columns = {
        "selection_id": _constant(selection, len(slot)),
        "stage": _constant(drawn.stage, len(slot)),
        "epoch": pa.array(np.zeros(len(slot), np.int32)),
        "row_no": pa.array(row_no),
        "query_id": _take(base, "query_id", document),
        "positive_id": _take(base, "doc_id", rows.row[row_no]),
        "slot": pa.array(slot, pa.int32()),
        "doc_id": _take(base, "doc_id", document),
        "label": pa.array(label),
        "weight": pa.array(weight),
        **{name: _take(base, name, document) for name in ("query_row", "doc_partition", "doc_row")},
    }
    return pa.table(columns).select(ROWS.names).cast(ROWS)


def _reason(kind: Ints, cap: Bools, judged: Bools, lists: tuple[tuple[str, ...], ...], code: Ints) -> pa.Array:
    """The first reason of what is rejected or passed over; else a word for what happened."""
    words = ("labelled_positive", "pseudo_positive", "drawn", "quota_full", "positive_cap", "judged_pair")
    number = np.array([len(words) + place if listed else 3 for place, listed in enumerate(lists)], np.int64)[code]
    for word, which in enumerate((kind == _POSITIVE, kind == _PSEUDO, kind == _NEGATIVE)):
        number[which] = word
    number[cap] = 4
    number[judged] = 5
    return _named((*words, *(listed[0] if listed else "" for listed in lists)), number)


def _named(names: tuple[str, ...], number: Ints) -> pa.Array:
    """Names by number; NULL for a negative number."""
    return pa.array(names, pa.string()).take(pa.array(number, mask=number < 0))


def _constant(value: str, size: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.string()), size)


def _take(base: Base, name: str, row: Ints) -> pa.ChunkedArray:
    """A column's values in some rows; NULL for a negative row."""
    column = base.table[name]
    if len(row) == len(column) and (row == np.arange(len(row))).all():
        return column
    return column.take(pa.array(row, mask=row < 0))
