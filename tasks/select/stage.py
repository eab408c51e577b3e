"""Stage ``select``: a recipe over each partition of the scored table. No model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.runner.stage import Job, Stage, Work
from tasks.select.base import among, integers, prepare
from tasks.select.check import check
from tasks.select.decide import decide
from tasks.select.diversity import vectors_of
from tasks.select.inputs import Features, check_whole, feature_parts, read_candidates, vector_parts
from tasks.select.layout import anchors, decisions_table, dropped_pairs, rows_table
from tasks.select.recipe import Recipe
from tasks.store.keys import digest
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.vectors import Addressed, stored_vectors

STAGE = Stage(name="select", version=2, function="tasks.select.stage:run", unit="candidates")


def selection_id(candidate_set_id: str, recipe: Recipe, seed: int, features: Features | None = None, banned: Sequence[Part] = ()) -> str:
    """Identity of one selection: the scored table, the recipe as composed, the seed, the features that it needs, what global limits ban."""
    given = features or {}
    checksums = {name: [part.only("features.parquet").checksum for part in given.get(name, ())] for name in recipe.needs.features}
    checksums |= {"hub-limits": [part.checksum for part in banned]} if banned else {}
    return digest(candidate_set_id, recipe.model_dump(mode="json"), seed, checksums)


def jobs(
    scored: Sequence[Part],
    recipe: Recipe,
    sources: Sequence[str],
    candidate_set_id: str,
    seed: int,
    features: Features | None = None,
    banned: Sequence[Part] = (),
    vectors: Sequence[Part] = (),
) -> list[Job]:
    """One job a partition of the scored table.

    Args:
        scored: parts with scored.parquet.
        recipe: what to apply.
        sources: the round's.
        candidate_set_id: identity of the scored table.
        seed: of all random draws.
        features: parts with features.parquet by feature, each in the order of ``scored``.
        banned: the part of :mod:`tasks.select.hubs`, if some limit is global.
        vectors: parts of ``embed-documents``, if the recipe wants diversity.

    Raises:
        UsageError: a feature that the recipe needs is not given, or vectors are not, or the table is partial and was scored for others.
    """
    check_whole(scored, recipe, seed)
    settings = {
        "recipe": recipe.model_dump(mode="json"),
        "sources": list(sources),
        "seed": seed,
        "selection_id": selection_id(candidate_set_id, recipe, seed, features, banned),
    }
    joined = feature_parts(recipe, features or {}, len(scored))
    shared = vector_parts(recipe, vectors) | ({"banned": tuple(banned)} if banned else {})
    return [
        Job(
            index=part.index,
            inputs={"scored": (part.only("scored.parquet"),), **{role: (parts[number],) for role, parts in joined.items()}, **shared},
            settings=settings,
            units=part.file("scored.parquet").rows or 0,
        )
        for number, part in enumerate(scored)
    ]


def run(work: Work, out: Output) -> None:
    """Write ``decisions.parquet``, ``rows.parquet`` and ``usage.parquet`` of one partition.

    usage.parquet: doc_id and queries (how many have it as a negative in a training row), by doc_id. Meta: counts by decision and reason.
    """
    settings, inputs = work.job.settings, work.job.inputs
    recipe = Recipe.model_validate(settings["recipe"])
    decisions, rows = select_checked(
        read_candidates(work, recipe),
        recipe,
        list(settings["sources"]),
        int(settings["seed"]),
        str(settings["selection_id"]),
        work.table("banned", "banned.parquet") if "banned" in inputs else None,
        work.table("banned", "anchors.parquet") if "banned" in inputs else None,
        stored_vectors(work.storage, inputs["vectors"]) if "vectors" in inputs else None,
    )
    out.table("decisions.parquet", decisions)
    out.table("rows.parquet", rows)
    out.table("usage.parquet", usage(rows))
    out.meta.update(_counts(decisions, rows))
    out.count(model_calls=0)


def select(
    scored: pa.Table,
    recipe: Recipe,
    sources: list[str],
    seed: int,
    selection: str,
    banned: pa.Table | None = None,
    capped: pa.Table | None = None,
    vectors: Addressed | None = None,
) -> tuple[pa.Table, pa.Table]:
    """Decide every candidate, and lay out the training rows.

    Args:
        scored: one partition, :func:`tasks.schema.scored` with the features' columns; in any order.
        recipe: what to apply.
        sources: the round's sources.
        seed: of all random draws.
        selection: the selection's id.
        banned: query_id and doc_id of those that may be no negatives (hubs).
        capped: query_id and doc_id of positives that get no training row.
        vectors: of documents by address; needed for diversity.

    Returns:
        (:data:`tasks.schema.DECISIONS` sorted by stage, query_id, positive_id, doc_id; :data:`tasks.schema.ROWS` sorted by row_no, slot).

    Raises:
        UsageError: the recipe's SQL does not fit the table.
    """
    check(recipe, scored.schema)
    return select_checked(scored, recipe, sources, seed, selection, banned, capped, vectors)


def select_checked(
    scored: pa.Table,
    recipe: Recipe,
    sources: list[str],
    seed: int,
    selection: str,
    banned: pa.Table | None,
    capped: pa.Table | None,
    vectors: Addressed | None,
) -> tuple[pa.Table, pa.Table]:
    """:func:`select` of a recipe that fits the table."""
    table = prepare(scored, recipe, seed)
    decided = decide(table, recipe, sources, among(table, banned), vectors_of(table, vectors))
    given_up = dropped_pairs(decided, recipe)
    without = among(table, capped) | given_up
    rows = anchors(decided, without, recipe.row_order, seed)
    return (
        pa.concat_tables([decisions_table(decided, drawn, without, selection, given_up) for drawn in decided.stages]),
        pa.concat_tables([rows_table(decided, drawn, rows, selection) for drawn in decided.stages]),
    )


def usage(rows: pa.Table) -> pa.Table:
    """doc_id, and of how many queries it is a negative in a training row; sorted by doc_id."""
    negatives = rows.filter(pc.greater(rows["slot"], 0)).select(["doc_id", "query_id"])
    counted = negatives.group_by("doc_id").aggregate([("query_id", "count_distinct")]).sort_by("doc_id")
    return pa.table({"doc_id": counted["doc_id"], "queries": counted["query_id_count_distinct"].cast(pa.int64())})


def _counts(decisions: pa.Table, rows: pa.Table) -> dict[str, Mapping[str, Any]]:
    """Candidates by decision, rejected ones by first reason, training rows by how many negatives they got."""
    rejected = pc.is_in(decisions["decision"], value_set=pa.array(["rejected", "unscored"]))
    starts = np.flatnonzero(integers(rows["slot"]) == 0)
    negatives = np.diff(np.append(starts, rows.num_rows)) - 1
    return {
        "decisions": _tally(decisions["decision"]),
        "reasons": _tally(decisions["reason"].filter(rejected)),
        "negatives_per_row": _tally(pa.array(negatives.astype(str), pa.string())),
    }


def _tally(column: pa.ChunkedArray | pa.Array) -> dict[str, int]:
    found = pc.value_counts(column).to_pylist()
    return dict(sorted((str(entry["values"]), int(entry["counts"])) for entry in found))
