"""Selections over a scored round: decisions, training files, the gate. No model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.results import SelectionResult, sum_meta
from tasks.audit.records import SelectionRecord, ShardsRef, StageRef
from tasks.compare.settings import MeasureSettings
from tasks.errors import UsageError
from tasks.features.task import FeatureInputs, features
from tasks.gate.report import check
from tasks.gate.stage import GateSettings
from tasks.gate.task import gate
from tasks.runner.runner import Context
from tasks.select.recipe import Recipe
from tasks.select.task import probe, select
from tasks.shards.settings import ShardSettings
from tasks.shards.task import shards
from tasks.store.manifest import Part, StageManifest
from tasks.store.storage import Storage
from tasks.store.tables import read_parts
from tasks.truth.settings import EstimateSettings
from tasks.truth.task import Review, measure

HUBS = 20


@dataclass(frozen=True)
class Table:
    """A scored table and what is needed to lay out its texts."""

    candidate_set_id: str
    sources: Sequence[str]
    scored: Sequence[Part]
    queries: Sequence[Part]
    documents: Sequence[Part]
    query_vectors: Sequence[Part]
    document_vectors: Sequence[Part]
    calibration: Sequence[Part]  # of stage calibrate; none: no teacher
    planted: int  # positives that are hidden as probes
    depths: dict[str, int]  # by source; "teacher" for the teacher's


@dataclass(frozen=True)
class Selected:
    """One recipe's outcome, as a record to publish and as a result to show."""

    record: SelectionRecord
    result: SelectionResult
    stages: tuple[StageManifest, ...]


def check_depth(table: Table, recipe: Recipe) -> None:
    """Refuse a recipe that needs a deeper round than this one.

    Raises:
        UsageError: what is too shallow, and how to deepen it.
    """
    wanted = {**recipe.needs.sources, "teacher": recipe.needs.teacher_depth}
    shallow = {name: depth for name, depth in wanted.items() if depth > table.depths.get(name, 0)}
    if shallow:
        needs = ", ".join(f"{name} to rank {depth} (mined: {table.depths.get(name, 0)})" for name, depth in shallow.items())
        raise UsageError(
            f"recipe {recipe.name!r} needs {needs}",
            "mine again with this recipe in `recipes`, or give --truncate to select from what there is",
        )


@dataclass(frozen=True)
class Decided:
    """What a recipe decided about each candidate, before training files are written."""

    selection_id: str
    decisions: StageManifest
    features: dict[str, StageManifest]


def compute_features(context: Context, table: Table, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, StageManifest]:
    """Feature stages by name, row by row beside the scored table."""
    inputs = FeatureInputs(
        scored=table.scored,
        queries=table.queries,
        documents=table.documents,
        document_vectors=table.document_vectors,
        query_vectors=table.query_vectors,
        sources=table.sources,
    )
    return features(context, wanted, inputs)


def decide(context: Context, table: Table, recipe: Recipe, seed: int) -> Decided:
    """Run the feature stages that a recipe asks for, and the recipe. No model runs."""
    found = compute_features(context, table, recipe.needs.features)
    parts = {name: manifest.parts for name, manifest in found.items()}
    vectors = table.document_vectors if recipe.limits.diversity else ()
    decisions, selection = select(context, table.scored, recipe, table.sources, table.candidate_set_id, seed, parts, vectors)
    return Decided(selection, decisions, found)


def measure_selection(
    context: Context, table: Table, recipe: Recipe, outcome: Decided, seed: int, reasons: Sequence[str], reviews: Sequence[Review] = ()
) -> tuple[StageManifest, ...]:
    """What is known of a selection's false negatives: stages ``probe`` (where positives are planted) and, last, ``measure``.

    Args:
        context: storage, executor, progress.
        table: the scored round.
        recipe: as composed.
        outcome: its decisions.
        seed: of random draws.
        reasons: of rejections that mean: probably relevant.
        reviews: of this round.
    """
    stages: list[StageManifest] = []
    parts = {name: manifest.parts for name, manifest in outcome.features.items()}
    if table.planted:
        vectors = table.document_vectors if recipe.limits.diversity else ()
        stages.append(probe(context, table.scored, recipe, table.sources, table.candidate_set_id, seed, parts, vectors))
    wanted = MeasureSettings.of_recipe(recipe.model_dump(mode="json"))
    settings = EstimateSettings(
        num_negatives=wanted.num_negatives, stage_negatives=wanted.stage_negatives, suspect_reasons=tuple(sorted(reasons))
    )
    stages.append(
        measure(
            context,
            table.scored,
            outcome.decisions.parts,
            table.queries,
            table.sources,
            settings,
            probes=stages[0].parts if stages else (),
            evidence=parts.get("evidence", ()),
            reviews=reviews,
            can_tell=all(part.meta["verdict"] != "cannot tell" for part in table.calibration),
        )
    )
    return tuple(stages)


def gate_settings(recipe: Recipe) -> GateSettings:
    """What the gate holds a recipe's selection to."""
    return GateSettings(num_negatives=recipe.num_negatives, duplicates=recipe.refuses_copies)


def run_selection(context: Context, table: Table, recipe: Recipe, formats: Sequence[str], settings: ShardSettings, seed: int) -> Selected:
    """Decide, check, and write training files.

    Args:
        context: storage, executor, progress.
        table: the scored round.
        recipe: what to apply.
        formats: training formats to write.
        settings: what else decides the files' content.
        seed: of random draws.

    Raises:
        GateError: the selection fails the release gate.
    """
    outcome = decide(context, table, recipe, seed)
    decided, selection = outcome.decisions, outcome.selection_id
    inspected = gate(context, selection, decided.parts, table.scored, table.queries, table.documents, gate_settings(recipe))
    report = check(inspected.parts)
    report.raise_if_failed()
    written: dict[str, ShardsRef] = {}
    measured = measure_selection(context, table, recipe, outcome, seed, settings.suspect_reasons)
    stages = [*outcome.features.values(), decided, inspected, *measured]
    for name in formats:
        manifest, folder = shards(context, name, selection, decided.parts, table.scored, table.queries, table.documents, settings)
        written[name] = ShardsRef(stage=manifest.stage, key=manifest.key, folder=folder)
        stages.append(manifest)
    record = SelectionRecord(
        selection_id=selection,
        recipe=recipe.name,
        select=StageRef(stage=decided.stage, key=decided.key),
        shards=written,
        gate=report.as_json(),
        num_negatives=recipe.num_negatives,
        recipe_settings=recipe.model_dump(mode="json"),
        measures=StageRef(stage=measured[-1].stage, key=measured[-1].key),
        features={name: StageRef(stage=manifest.stage, key=manifest.key) for name, manifest in outcome.features.items()},
    )
    result = SelectionResult(
        recipe=recipe.name,
        selection_id=selection,
        decisions=sum_meta(decided, "decisions"),
        reasons=sum_meta(decided, "reasons"),
        negatives_per_row=dict(sorted(sum_meta(decided, "negatives_per_row").items(), key=lambda item: int(item[0]))),
        shards={name: f"{context.storage.root}/{ref.folder}" for name, ref in written.items()},
        gate=report.as_json(),
        hubs=_hubs(context.storage, decided),
        measures=dict(measured[-1].parts[0].meta),
    )
    return Selected(record, result, tuple(stages))


def _hubs(storage: Storage, decided: StageManifest) -> tuple[tuple[str, int], ...]:
    """The documents that are a negative for most queries."""
    used = read_parts(storage, decided.parts, "usage.parquet").group_by("doc_id", use_threads=False).aggregate([("queries", "sum")])
    top = used.sort_by([("queries_sum", "descending"), ("doc_id", "ascending")]).slice(0, HUBS)
    return tuple(zip(top["doc_id"].to_pylist(), top["queries_sum"].to_pylist(), strict=True))
