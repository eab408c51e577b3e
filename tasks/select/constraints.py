"""Limits within one query, on arrays: copies of pseudo-positives, equal texts, so many of a cluster of near copies or of a parent."""

from __future__ import annotations

from collections.abc import Iterator

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
    for name in ("doc_hash", "duplicate_cluster") if pseudo.any() else ():
        values = _values(base, name)
        if values is not None:
            reasons = reasons.add(~apart & shares(base.group, values, pseudo), "copy_of_pseudo_positive")
    for reason, values, most in shared_values(base, recipe):
        reasons = reasons.add(beyond(base, reasons.count, ~apart & takeable(recipe, reasons), values, most), reason)
    return reasons


def shared_values(base: Base, recipe: Recipe) -> Iterator[tuple[str, Ints, int]]:
    """Each limit on candidates of a query with one value: its reason, (n,) the values as numbers, and how many of a value may stay."""
    limits = recipe.limits
    for reason, name, most in (
        ("same_text", "doc_hash", 1),
        ("duplicate_cluster_limit", "duplicate_cluster", limits.per_duplicate_cluster),
        ("group_limit", "group_id", limits.per_group),
    ):
        values = _values(base, name) if most is not None else None
        if values is not None and most is not None:
            yield reason, values, most


def takeable(recipe: Recipe, reasons: Reasons) -> Bools:
    """(n,) whom some draw may take, as far as reasons go."""
    return reasons.where(lambda listed: any(draw.allows(listed) for draw in recipe.draws))


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


def shares(group: Ints, values: Ints, marked: Bools) -> Bools:
    """(n,) whose value is that of a marked candidate of the group; a negative one stands for no value."""
    key = group * (int(values.max(initial=0)) + 1) + values
    shared: Bools = np.isin(key, key[marked & (values >= 0)]) & (values >= 0)
    return shared


def _values(base: Base, name: str) -> Ints | None:
    """A column as numbers, -1 for NULL; ``None`` if there is no such column, or nothing in it."""
    if name not in base.table.column_names or base.table[name].null_count == base.table.num_rows:
        return None
    column = base.table[name]
    return encode(column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column]))[base.row]
