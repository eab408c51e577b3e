"""Splits: which queries train, calibrate, choose and test. Once, at ingest, by query group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from tasks.errors import InputError
from tasks.folds import group_draws
from tasks.settings import Settings
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import read_table

SPLITS = ("train", "calibration", "dev", "test")
TRAIN = SPLITS[0]


class Splits(Settings):
    """Shares of the query groups; they add up to 1. A split that the source names for a query stands.

    Keep the seed over rounds and over repeated trainings: with another one a test query becomes a training query.
    """

    train: float = Field(1.0, ge=0, le=1, description="Share that teachers and retrievers are trained on.")
    calibration: float = Field(0.0, ge=0, le=1, description="Share that scores are calibrated on.")
    dev: float = Field(0.0, ge=0, le=1, description="Share that checkpoints are chosen by.")
    test: float = Field(0.0, ge=0, le=1, description="Share that is read once, at the end.")
    seed: int = Field(0, ge=0, description="Of the draw.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = sum(self.shares)
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the shares add up to {total:g}, not to 1; give all that are not 0, train too")
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """In the order of :data:`SPLITS`."""
        return self.train, self.calibration, self.dev, self.test


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
    split = pc.utf8_lower(pc.fill_null(table["split"], TRAIN))
    table = table.set_column(2, "split", split)
    counts = table.group_by("split", use_threads=False).aggregate([([], "count_all")]).sort_by("split")
    if counts.num_rows > 1:
        _refuse_divided(table, name)
    return dict(zip(counts["split"].to_pylist(), counts["count_all"].to_pylist(), strict=True))


def _refuse_divided(table: pa.Table, name: str) -> None:
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
        "queries of one group (the same text, or the same `group`) would leak from training into measuring: "
        "name one split for all queries of a group, or name none and set dataset.splits",
    )
