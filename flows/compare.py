"""Recipes beside each other over one round: yield, hardness, leak. No model runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from flows.selection import Table, check_depth, check_features, compute_features, decide
from flows.stored import stored_facts, stored_table
from flows.tuning import Tuning, record_reading, tuned_on
from tasks.audit.records import RoundRecord
from tasks.compare.curves import Curve, CurvePoint, at_yield, curve
from tasks.compare.metrics import SCORED_COLUMNS, measure
from tasks.compare.overlap import negative_pairs, overlaps
from tasks.compare.results import RecipeOutcome
from tasks.compare.settings import MeasureSettings
from tasks.compare.tables import comparison_rows
from tasks.compare.truth import Truth
from tasks.errors import UsageError
from tasks.features.task import sample_queries
from tasks.runner.runner import Context
from tasks.select.inputs import check_whole
from tasks.select.recipe import Facts, Recipe
from tasks.select.registry import compose_recipe, is_published, recipe_class, recipe_names
from tasks.select.task import select
from tasks.store.keys import digest
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import read_parts

Wanted = str | dict[str, Any]
_ROWS = ["stage", "query_id", "positive_id", "slot", "doc_id"]
_DECISIONS = ["stage", "query_id", "doc_id", "positive_id", "decision", "draw", "slot", "label", "weight"]


class Comparison(BaseModel):
    """Recipes over one round."""

    model_config = ConfigDict(frozen=True)
    round: str
    outcomes: tuple[RecipeOutcome, ...]
    curves: tuple[Curve, ...]
    left_out: dict[str, str]
    queries: str = ""  # which were looked at, where the dataset has splits
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "round": self.round,
            "recipes": comparison_rows(self.outcomes),
            "curves": [line.model_dump(mode="json") for line in self.curves],
            "at_equal_yield": {family: point.model_dump(mode="json") for family, point in self.at_equal_yield().items()},
            "left_out": self.left_out,
            "queries": self.queries,
            "notes": list(self.notes),
        }

    def at_equal_yield(self, served: float = 0.95) -> dict[str, CurvePoint]:
        """The hardest setting of each swept recipe that serves so many queries; recipes without one are left out."""
        found = {line.family: at_yield(line, served) for line in self.curves}
        return {family: point for family, point in found.items() if point is not None}

    @property
    def points(self) -> dict[str, CurvePoint]:
        """Recipes without a curve, as they are by default."""
        drawn = {line.family for line in self.curves}
        return {one.recipe: CurvePoint.of(one.metrics, is_default=True) for one in self.outcomes if one.recipe not in drawn}


@dataclass(frozen=True)
class CompareRequest:
    """What is compared.

    Args:
        recipes: names or settings; none: all that the round is deep enough for.
        truth: exhaustive judgements, or none.
        truncate: also recipes that need a deeper round.
        sweep_queries: queries over which settings are swept; 0: no curves.
        num_negatives: negatives a query; none: the round's.
        split: of the queries that are looked at, as :func:`flows.tuning.tuned_on` has it; empty: those that may be trained on.
    """

    recipes: Sequence[Wanted] = ()
    truth: Truth | None = None
    truncate: bool = False
    sweep_queries: int = 500
    num_negatives: int | None = None
    split: str = ""


def compare(context: Context, record: RoundRecord, request: CompareRequest) -> Comparison:
    """Measure recipes over a round, on the queries that may be trained on.

    Raises:
        UsageError: a recipe or the split is unknown; or it was asked for by name and the round is too shallow for it.
        InputError: the truth is of another collection, or judges none of these queries.
    """
    table, facts = stored_table(context.storage, record), stored_facts(record, request.num_negatives)
    scored = _scored(context.storage, table.scored)
    looked = tuned_on(context.storage, table.queries, request.split, request.truth, scored)
    record_reading(context.storage, record, looked)
    scored = looked.of(scored)
    request = replace(request, truth=looked.truth)
    seed = int(record.settings["seed"])
    sampled = _sample(scored, request)
    recipes, left_out = _recipes(record, table, facts, request)
    outcomes, pairs, curves = [], {}, []
    for name, (wanted, recipe) in recipes.items():
        decided = decide(context, table, recipe, seed)
        seconds = sum(manifest.seconds for manifest in (*decided.features.values(), decided.decisions))
        selection = looked.of(read_parts(context.storage, decided.decisions.parts, "decisions.parquet", _DECISIONS))
        rows = looked.of(read_parts(context.storage, decided.decisions.parts, "rows.parquet", _ROWS))
        metrics = measure(selection, scored, looked.truth, _settings(recipe), rows, looked.groups)
        pairs[name] = negative_pairs(selection, rows)
        given = {key: value for key, value in wanted.items() if key != "name"} if isinstance(wanted, dict) else {}
        outcomes.append(RecipeOutcome(recipe=name, settings=given, seconds=seconds, metrics=metrics))
        if request.sweep_queries and is_published(wanted) and not table.is_partial:
            curves += _swept(context, table, facts, name, wanted, looked, sampled, seed)
    beside = overlaps(pairs)
    outcomes = [outcome.model_copy(update={"overlap": beside[outcome.recipe]}) for outcome in outcomes]
    return Comparison(
        round=f"{record.dataset}/{record.number}",
        outcomes=tuple(outcomes),
        curves=tuple(curves),
        left_out=left_out,
        queries=looked.words,
        notes=looked.notes,
    )


def _recipes(
    record: RoundRecord, table: Table, facts: Facts, request: CompareRequest
) -> tuple[dict[str, tuple[Wanted, Recipe]], dict[str, str]]:
    """The recipes to compare by name, and why others are left out."""
    found: dict[str, tuple[Wanted, Recipe]] = {}
    left_out: dict[str, str] = {}
    for wanted in request.recipes or recipe_names():
        recipe = compose_recipe(wanted, facts)
        try:
            if not request.truncate:
                check_depth(table, recipe)
            check_features(recipe, record.settings.get("fixed_encoder") is not None)
            check_whole(table.scored, recipe, int(record.settings["seed"]))
        except UsageError as error:
            if request.recipes:
                raise
            left_out[recipe.name] = error.message
            continue
        found[_distinct(recipe.name, found)] = (wanted, recipe)
    return found, left_out


def _distinct(name: str, taken: dict[str, Any]) -> str:
    same = sum(1 for other in taken if other == name or other.startswith(f"{name} #"))
    return name if not same else f"{name} #{same + 1}"


def _swept(
    context: Context, table: Table, facts: Facts, name: str, wanted: Wanted, looked: Tuning, queries: Sequence[str], seed: int
) -> list[Curve]:
    """The recipe over the values of its own setting that fit its others, on a hashed sample of the queries."""
    settings = {"name": wanted} if isinstance(wanted, str) else dict(wanted)
    published = recipe_class(str(settings["name"]))
    if published.sweep is None:
        return []
    parameter, values = published.sweep
    default = settings.get(parameter, published.model_fields[parameter].default)
    small = sample_queries(context, table.scored, queries).parts
    scored = _scored(context.storage, small)
    measured = []
    for value in dict.fromkeys((*values, default)):
        try:
            recipe = compose_recipe({**settings, parameter: value}, facts)
        except UsageError:  # as middle-band's high under a low of the user's
            continue
        found = compute_features(context, table, recipe.needs.features)
        parts = {name: sample_queries(context, table.scored, queries, manifest.parts).parts for name, manifest in found.items()}
        vectors = table.document_vectors if recipe.limits.diversity else ()
        decided, _ = select(context, small, recipe, table.sources, table.candidate_set_id, seed, parts, vectors, table.queries)
        selection = read_parts(context.storage, decided.parts, "decisions.parquet", _DECISIONS)
        rows = read_parts(context.storage, decided.parts, "rows.parquet", _ROWS)
        measured.append((value, measure(selection, scored, looked.truth, _settings(recipe), rows, looked.groups)))
    return [curve(name, parameter, measured, default)]


def _sample(scored: pa.Table, request: CompareRequest) -> list[str]:
    """So many queries by hash; judged ones only, where there is a truth."""
    known = set(scored["query_id"].unique().to_pylist())
    if request.truth is not None:
        known &= set(request.truth.judged["query_id"].to_pylist())
    return sorted(known, key=lambda query: (digest("sweep", query), query))[: request.sweep_queries]


def _scored(storage: Storage, parts: Sequence[Part]) -> pa.Table:
    return read_parts(storage, parts, "scored.parquet", SCORED_COLUMNS)


def _settings(recipe: Recipe) -> MeasureSettings:
    return MeasureSettings.of_recipe(recipe.model_dump(mode="json"))


def plot_comparison(comparison: Comparison, path: Path) -> Path:
    """Leak against hardness, as .svg or .png.

    Raises:
        UsageError: without a truth there is no leak to plot.
    """
    from tasks.compare.plot import leak_against_hardness

    if all(one.metrics.leak is None for one in comparison.outcomes):
        raise UsageError("a plot of leak against hardness needs a truth", "give judged qrels: --qrels truth.tsv")
    return leak_against_hardness(comparison.curves, comparison.points, path, title=f"Round {comparison.round}")
