"""Overlap of recipes: how far they choose the same negatives."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from tasks.compare.negatives import training
from tasks.compare.results import Overlap
from tasks.sql import run


def negative_pairs(selection: pa.Table, rows: pa.Table | None = None, relevant_label: float = 0.0) -> pa.Table:
    """Distinct (query_id, doc_id) of a selection's negatives, sorted.

    Args:
        selection: decisions of the whole round.
        rows: training rows, where a recipe limits them.
        relevant_label: a document drawn with a higher label is no negative.
    """
    sql = f"SELECT DISTINCT query_id, doc_id FROM drawn WHERE label <= {relevant_label!r}::DOUBLE ORDER BY ALL"
    return run(sql, {"drawn": training(selection, rows).drawn})


def overlaps(pairs: Mapping[str, pa.Table]) -> dict[str, dict[str, Overlap]]:
    """Each recipe's overlap with each other.

    Args:
        pairs: :func:`negative_pairs` by recipe.

    Returns:
        By recipe A, by other recipe B: mean Jaccard a query and the share of A's negatives that B has. 0 where A has none.
    """
    names = list(pairs)
    if len(names) < 2:
        return {name: {} for name in names}
    tables = {f"t{number}": pairs[name] for number, name in enumerate(names)}
    union = " UNION ALL ".join(f"SELECT {number} AS recipe, query_id, doc_id FROM t{number}" for number in range(len(names)))
    found = run(
        f"""SELECT recipe, dense_rank() OVER (ORDER BY query_id) - 1 AS query_no, dense_rank() OVER (ORDER BY query_id, doc_id) - 1 AS pair
            FROM ({union}) ORDER BY pair, recipe""",
        tables,
    )
    recipe, query, pair = (found[name].to_numpy().astype(np.int64) for name in ("recipe", "query_no", "pair"))
    has = np.zeros((len(names), int(pair.max(initial=-1)) + 1), dtype=np.bool_)
    has[recipe, pair] = True
    of_pair = np.zeros(has.shape[1], dtype=np.int64)
    of_pair[pair] = query
    queries = int(query.max(initial=-1)) + 1
    size = np.stack([np.bincount(of_pair[has[at]], minlength=queries) for at in range(len(names))])
    result: dict[str, dict[str, Overlap]] = {name: {} for name in names}
    for a, first in enumerate(names):
        for b in range(a + 1, len(names)):
            both = np.bincount(of_pair[has[a] & has[b]], minlength=queries)
            either = size[a] + size[b] - both
            jaccard = float((both[either > 0] / either[either > 0]).mean()) if either.any() else 0.0
            result[first][names[b]] = Overlap(jaccard=jaccard, share=float(both.sum() / max(size[a].sum(), 1)))
            result[names[b]][first] = Overlap(jaccard=jaccard, share=float(both.sum() / max(size[b].sum(), 1)))
    return {name: {other: result[name][other] for other in names if other != name} for name in names}
