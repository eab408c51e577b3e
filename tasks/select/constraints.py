"""Limits within one query, on arrays: copies of pseudo-positives, equal texts, so many of a cluster of near copies or of a parent."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.select.base import Base, Bools, Ints, encode
from tasks.select.reasons import Reasons
from tasks.select.recipe import Recipe


def constrain(base: Base, recipe: Recipe, reasons: Reasons, pseudo: Bools) -> Reasons:
    """Add the reasons of limits that are decided after the rules and before the draws.

    Args:
        base: the candidates.
        recipe: its limits and draws.
        reasons: what the rules say.
        pseudo: (n,) who is a pseudo-positive.
    """
    apart = base.positive | pseudo
    duplicate = _values(base, "duplicate_cluster")
    for values in (_values(base, "doc_hash"), duplicate):
        if values is not None and pseudo.any():
            reasons = reasons.add(~apart & _shared(base.group, values, pseudo), "copy_of_pseudo_positive")
    limits = recipe.limits
    steps = (
        ("same_text", _values(base, "doc_hash"), 1),
        ("duplicate_cluster_limit", duplicate, limits.per_duplicate_cluster),
        ("group_limit", _values(base, "group_id"), limits.per_group),
    )
    for reason, values, most in steps:
        if values is not None and most is not None:
            takeable = ~apart & reasons.where(lambda listed: any(draw.allows(listed) for draw in recipe.draws))
            reasons = reasons.add(beyond(base, reasons.count, takeable, values, most), reason)
    return reasons


def beyond(base: Base, count: Ints, takeable: Bools, values: Ints, most: int) -> Bools:
    """Who comes after the first ``most`` of its group with the same value.

    Args:
        base: the candidates.
        count: (n,) reasons of each: fewest come first, then by ``rank_by``, then by doc_id.
        takeable: (n,) who takes part.
        values: (n,) numbers; a negative one stands for no value, and is not limited.
        most: how many of a value may stay.

    Returns:
        (n,) marks.
    """
    refused: Bools = np.zeros(len(count), np.bool_)
    places = base.best[(takeable & (values >= 0))[base.best]]
    key = base.group[places] * (int(values.max(initial=0)) + 1) + values[places]
    if len(np.unique(key)) == len(key):
        return refused
    order = np.lexsort((count[places], key))
    ranked = key[order]
    late = np.zeros(len(ranked), np.bool_)
    late[most:] = ranked[most:] == ranked[:-most]
    refused[places[order][late]] = True
    return refused


def _shared(group: Ints, values: Ints, marked: Bools) -> Bools:
    """(n,) whose value is that of a marked candidate of the group."""
    key = group * (int(values.max(initial=0)) + 1) + values
    shared: Bools = np.isin(key, key[marked & (values >= 0)]) & (values >= 0)
    return shared


def _values(base: Base, name: str) -> Ints | None:
    """A column as numbers, -1 for NULL; ``None`` if there is no such column, or nothing in it."""
    if name not in base.table.column_names or base.table[name].null_count == base.table.num_rows:
        return None
    column = base.table[name]
    return encode(column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column]))[base.row]
