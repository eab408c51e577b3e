"""Splits: which queries train, calibrate, choose and test. Once, at ingest, by query group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.corpus.settings import SPLITS, TRAIN, Splits
from tasks.errors import InputError
from tasks.folds import group_draws
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import read_table


def draw_splits(groups: Sequence[str], splits: Splits) -> list[str]:
    """The split of each group, by its hash: the same in every round, whatever else is there.

    >>> draw_splits(["a", "b", "a"], Splits(train=0, test=1))
    ['test', 'test', 'test']
    """
    draws = group_draws([f"split:{group}" for group in groups], splits.seed)  # apart from the teachers' folds
    ends = np.cumsum(splits.shares)
    ends[np.flatnonzero(splits.shares)[-1] :] = 1.0
    place = np.searchsorted(ends, draws.astype(np.float64) / 2.0**64, side="right")
    named = np.array(SPLITS, dtype=object)
    found: list[str] = named[np.minimum(place, len(SPLITS) - 1)].tolist()
    return found


def with_splits(queries: pa.Table, splits: dict[str, Any] | None) -> pa.Table:
    """Queries with a split each: the source's, else the group's draw; unchanged without settings."""
    if splits is None or not queries.num_rows:
        return queries
    drawn = pa.array(draw_splits(queries["group"].to_pylist(), Splits.model_validate(splits)), pa.string())
    filled = pc.coalesce(queries["split"].combine_chunks(), drawn)
    return queries.set_column(queries.schema.get_field_index("split"), "split", filled)


def check_splits(storage: Storage, parts: Sequence[Part], name: str) -> dict[str, int]:
    """Refuse queries of one group in two splits; a query of no split counts as one of train.

    Args:
        storage: the root.
        parts: of the stage ``queries``.
        name: of the dataset.

    Returns:
        Queries by split (``train`` for those of none), in the order of their names.

    Raises:
        InputError: which group, and which queries.
    """
    tables = [read_table(storage, part.file("queries.parquet"), ["query_id", "group", "split"]) for part in parts]
    table = pa.concat_tables(tables)
    counts: Counter[str] = Counter()
    for one in table["split"].value_counts().to_pylist():
        counts[(TRAIN if one["values"] is None else str(one["values"])).lower()] += int(one["counts"])
    if len(counts) > 1:
        _refuse_divided(table, name)
    return dict(sorted(counts.items()))


def _refuse_divided(table: pa.Table, name: str) -> None:
    table = table.set_column(2, "split", pc.utf8_lower(pc.fill_null(table["split"], TRAIN)))
    groups = table.group_by("group", use_threads=False).aggregate([("split", "min"), ("split", "max")])
    divided = groups.filter(pc.not_equal(groups["split_min"], groups["split_max"])).sort_by("group")
    if not divided.num_rows:
        return
    group = divided["group"][0].as_py()
    own = table.filter(pc.equal(table["group"], group)).sort_by("query_id")
    shown = {split: query for query, split in zip(own["query_id"].to_pylist(), own["split"].to_pylist(), strict=True)}
    named = " and ".join(f"{query!r} in {split}" for split, query in sorted(shown.items()))
    raise InputError(
        f"dataset {name}: {divided.num_rows} query group(s) lie in two splits, the first {group!r}: query {named}",
        "queries of one group (the same text, nearly the same words, or the same `group`) would leak from training into measuring: "
        "name one split for all queries of a group, or name none and set dataset.splits; dataset.near_duplicates says how near is near",
    )
