"""Selections over a scored round: decisions, training files, the gate. No model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.measuring import Measuring
from flows.results import SelectionResult, sum_meta
from flows.settings import MineSettings
from tasks.audit.records import SelectionRecord, ShardsRef, StageRef
from tasks.compare.settings import MeasureSettings
from tasks.corpus.settings import DatasetSettings
from tasks.errors import UsageError
from tasks.features.base import Beyond
from tasks.features.task import FeatureInputs, features
from tasks.folds import Fold
from tasks.gate.report import check
from tasks.gate.stage import GateSettings
from tasks.gate.task import gate
from tasks.runner.runner import Context
from tasks.select.recipe import Recipe
from tasks.select.siblings import REASON as SIBLINGS
from tasks.select.task import probe, select
from tasks.shards.settings import SUSPECT_REASONS, ShardSettings
from tasks.shards.task import shards
from tasks.store.manifest import Part, StageManifest
from tasks.store.storage import Storage
from tasks.store.tables import read_table, whole_numbers
from tasks.truth.settings import EstimateSettings
from tasks.truth.task import Review, Vectors, measure

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
    labels: DatasetSettings  # whose judgements the candidates carry, and what these say
    measuring: Measuring
    chunk: Fold | None = None  # the queries that were mined; none: all
    bare: Sequence[Part] = ()  # the scored table without a lazy teacher's scores: what features are made from; none: the table

    @property
    def is_partial(self) -> bool:
        """Whether a lazy teacher scored no more than some selections need."""
        return any(part.meta.get("partial") for part in self.scored)


@dataclass(frozen=True)
class Selected:
    """One recipe's outcome, as a record to publish and as a result to show."""

    record: SelectionRecord
    result: SelectionResult


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


def check_features(recipe: Recipe, has_fixed_encoder: bool) -> None:
    """Refuse a recipe whose rules compare features that the round is mined without.

    Raises:
        UsageError: which rule, and how to have its feature.
    """
    if not has_fixed_encoder and any(rule.kind == "near_duplicate_cosine" for rule in recipe.rules):
        raise UsageError(
            f"recipe {recipe.name!r}: rule near_duplicate_cosine needs a fixed encoder, and the round has none",
            "mine with fixed_encoder: {path: …} (other models do not run again), or leave the rule out",
        )


def shard_settings(settings: MineSettings, recipe: Recipe) -> ShardSettings:
    """What decides the training files besides the selection."""
    return ShardSettings(
        num_negatives=recipe.num_negatives,
        rows_per_shard=settings.rows_per_shard,
        document_template=settings.document_encoder.title_template,
        output_scores=settings.output_scores,
        score=settings.score if settings.score != "auto" else "teacher_logit" if settings.teacher else "dense_score",
        query_prompt=settings.model.query_prompt if settings.flagembedding.prompt is None else settings.flagembedding.prompt,
        type=settings.flagembedding.type,
        split="" if settings.dataset.splits else settings.dataset.split,
        suspect_reasons=(
            "labelled",
            "planted",
            *(rule.name for rule in recipe.rules if rule.kind in SUSPECT_REASONS or rule.name == SIBLINGS),
        ),
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
        scored=table.bare or table.scored,
        queries=table.queries,
        documents=table.documents,
        document_vectors=table.document_vectors,
        query_vectors=table.query_vectors,
        sources=table.sources,
        beyond=Beyond(table.chunk, table.labels.positive_min_grade) if table.chunk else None,
    )
    return features(context, wanted, inputs)


def decide(context: Context, table: Table, recipe: Recipe, seed: int) -> Decided:
    """Run the feature stages that a recipe asks for, and the recipe. No model runs."""
    found = compute_features(context, table, recipe.needs.features)
    parts = {name: manifest.parts for name, manifest in found.items()}
    vectors = table.document_vectors if recipe.limits.diversity else ()
    decisions, selection = select(context, table.scored, recipe, table.sources, table.candidate_set_id, seed, parts, vectors, table.queries)
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
        stages.append(probe(context, table.scored, recipe, table.sources, table.candidate_set_id, seed, parts, vectors, table.queries))
    wanted, measuring = MeasureSettings.of_recipe(recipe.model_dump(mode="json")), table.measuring
    settings = EstimateSettings(
        judged=measuring.settings.judged if measuring.truth else table.labels.judged,
        min_grade=table.labels.positive_min_grade,
        num_negatives=wanted.num_negatives,
        stage_negatives=wanted.stage_negatives,
        suspect_reasons=tuple(sorted(reasons)),
        stages=tuple(recipe.stages),
        split="" if table.labels.splits else table.labels.split,
        depth=table.depths.get("teacher", 0),
        partial=table.is_partial,
        batch_sizes=measuring.batch_sizes,
        batch_seed=measuring.batch_seed,
        **measuring.settings.model_dump(include={"batch_rows", "level", "suspects", "calibration", "review", "survival"}),
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
            truth=measuring.truth,
            reviews=reviews,
            can_tell=all(part.meta["verdict"] != "cannot tell" for part in table.calibration),
            dataset=table.labels.name,
            vectors=Vectors(table.query_vectors, table.document_vectors),
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
    files: list[StageManifest] = []
    measured = measure_selection(context, table, recipe, outcome, seed, settings.suspect_reasons)
    for name in formats:
        manifest, folder = shards(context, name, selection, decided.parts, table.scored, table.queries, table.documents, settings)
        written[name] = ShardsRef(stage=manifest.stage, key=manifest.key, folder=folder)
        files.append(manifest)
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
        left_out=sum_meta(files[0], "left_out") if files else {},
        of_split=sum_meta(files[0], "of_split") if files else {},
    )
    return Selected(record, result)


def _hubs(storage: Storage, decided: StageManifest) -> tuple[tuple[str, int], ...]:
    """The documents that are a negative for most queries. On arrays: a run from cache does without what pyarrow's ``group_by`` imports."""
    usage = pa.concat_tables([read_table(storage, part.file("usage.parquet"), ["doc_id", "queries"]) for part in decided.parts])
    documents = usage["doc_id"].combine_chunks().dictionary_encode()
    queries = np.bincount(whole_numbers(documents.indices), whole_numbers(usage["queries"]), len(documents.dictionary)).astype(np.int64)
    by_id = whole_numbers(pc.array_sort_indices(documents.dictionary))
    most = by_id[np.argsort(-queries[by_id], kind="stable")[:HUBS]]
    return tuple((str(documents.dictionary[place]), int(queries[place])) for place in most.tolist())
