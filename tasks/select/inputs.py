"""What selections read: jobs' inputs, and a partition's candidates with their features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import StorageError, UsageError
from tasks.runner.stage import Work
from tasks.select.check import check
from tasks.select.columns import needed
from tasks.select.recipe import Recipe
from tasks.store.keys import digest
from tasks.store.manifest import Part
from tasks.store.tables import local_file

Features = Mapping[str, Sequence[Part]]


def partial_mark(recipe: Recipe, seed: int) -> dict[str, Any]:
    """What a scored table says of a selection that its lazy teacher scored enough for; the key is that of all its settings."""
    return {"recipe": recipe.name, "num_negatives": recipe.num_negatives, "key": digest(recipe.model_dump(mode="json"), seed)}


def check_whole(scored: Sequence[Part], recipe: Recipe, seed: int) -> None:
    """Refuse a selection from a table whose lazy teacher scored no more than other selections need.

    Raises:
        UsageError: for which recipes it was scored.
    """
    marks = [mark for part in scored for mark in part.meta.get("partial", ())]
    if marks and partial_mark(recipe, seed)["key"] not in {mark["key"] for mark in marks}:
        names = dict.fromkeys(f"{mark['recipe']} with {mark['num_negatives']} negatives" for mark in marks)
        raise UsageError(
            f"recipe {recipe.name!r}, {recipe.num_negatives} negatives: the candidates are partial; "
            f"the teacher scored only what this needs: {', '.join(names)}",
            "mine again with this recipe in `recipes`, or with teacher.lazy: false: pairs that were scored are reused",
        )


def feature_parts(recipe: Recipe, features: Features, count: int) -> dict[str, tuple[Part, ...]]:
    """The parts of the features that a recipe needs, by role.

    Args:
        recipe: the recipe.
        features: parts by feature; those that the recipe does not need are left out.
        count: how many parts each must have.

    Raises:
        UsageError: one is not given.
    """
    found = {}
    for name in sorted(recipe.needs.features):
        parts = features.get(name, ())
        if len(parts) != count:
            given = f"has {len(parts)} parts for {count} of the scored table" if parts else "was not computed for this round"
            raise UsageError(
                f"recipe {recipe.name!r} needs the feature {name!r}, which {given}",
                "mine or select again with this recipe: feature stages run on their own, without the models",
            )
        found[f"feature.{name}"] = tuple(part.only("features.parquet") for part in parts)
    return found


def vector_parts(recipe: Recipe, vectors: Sequence[Part]) -> dict[str, tuple[Part, ...]]:
    """The documents' vectors, if the recipe's limits need them.

    Raises:
        UsageError: they are not given.
    """
    if recipe.limits.diversity is None:
        return {}
    if not vectors:
        raise UsageError(f"recipe {recipe.name!r}: limits.diversity needs the documents' vectors", "give them, or leave diversity out")
    return {"vectors": tuple(part.only("vectors.npy") for part in vectors)}


def read_candidates(work: Work, recipe: Recipe, number: int = 0) -> pa.Table:
    """One partition's scored candidates, with the columns that a selection reads and its features' columns in place of any of that name.

    Args:
        work: has roles ``scored`` and ``feature.<name>``.
        recipe: is checked against the columns there are.
        number: which part of these roles.

    Raises:
        UsageError: the recipe's SQL does not fit the columns.
        StorageError: a feature's rows are not those of the scored table.
    """
    part = work.job.inputs["scored"][number]
    schema = pq.read_schema(local_file(work.storage, part.file("scored.parquet")))
    given = {role: work.part_table(parts[number], "features.parquet") for role, parts in _features(work).items()}
    replaced = {name for features in given.values() for name in features.column_names}
    whole = [field for field in schema if field.name not in replaced]
    check(recipe, pa.schema([*whole, *(field for features in given.values() for field in features.schema)]))
    table = work.part_table(part, "scored.parquet", needed(recipe.words, [field.name for field in whole]))
    if "provenance" not in table.column_names:  # of rounds from before labels had one
        table = table.append_column("provenance", pa.nulls(table.num_rows, pa.string()))
    for role, features in given.items():
        if features.num_rows != table.num_rows:
            raise StorageError(f"part {part.index}: {role} has {features.num_rows} rows, not {table.num_rows}", "delete it and run again")
        for name in features.column_names:
            table = table.append_column(name, features[name])
    return table


def _features(work: Work) -> dict[str, tuple[Part, ...]]:
    return {role: parts for role, parts in work.job.inputs.items() if role.startswith("feature.")}
