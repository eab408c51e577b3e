"""The flow ``mine-many``: each dataset's round, then one set of training files over all of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from flows.checks import check_models
from flows.cluster import cluster
from flows.judging import judge_budget
from flows.many_settings import ManySettings, Member
from flows.mine import mine_round
from flows.results import MineResult
from flows.round import compose_recipes, prepare_dataset
from flows.server import prefect_api
from flows.settings import MineSettings
from flows.sources import given_candidates
from flows.stored import find_round, stored_stage, stored_table
from flows.training import Trained
from flows.training_mixture import train_mixture
from tasks.audit.build import build_audit
from tasks.corpus.borrowed import borrowed_sources
from tasks.corpus.dataset import Dataset
from tasks.corpus.sources import Source
from tasks.errors import InputError, UsageError
from tasks.finetune.mixture import check_training
from tasks.mixture.settings import MIXED
from tasks.mixture.stage import Ingredient
from tasks.mixture.task import mixture
from tasks.models.order import is_trained
from tasks.runner.runner import Context, Progress
from tasks.select.recipe import Recipe
from tasks.store.lease import at_work
from tasks.store.manifest import StageManifest
from tasks.store.pointers import update_pointer
from tasks.store.storage import Storage, open_storage
from tasks.store.tables import read_parts


class MixedFiles(BaseModel):
    """One format of the mixture. ``datasets``: by name share, rows, batches, written, repeated, left_out, capped, clashing."""

    model_config = ConfigDict(frozen=True)
    format: str
    folder: str
    rows: int
    datasets: dict[str, dict[str, float]]


class ManyResult(BaseModel):
    """What a run over several datasets gives back. ``trained``: the checkpoint, where ``train`` is set."""

    model_config = ConfigDict(frozen=True)
    root: str
    name: str
    rounds: tuple[MineResult, ...]
    mixture: tuple[MixedFiles, ...]
    trained: Trained | None = None


def mine_many(settings: ManySettings, progress: Progress) -> ManyResult:
    """Mine all datasets of a run and mix their training files."""
    from prefect import flow

    def run(settings: ManySettings) -> ManyResult:
        with cluster(settings, progress) as executor, at_work(storage := open_storage(settings.root), "mine"):
            return mine_all(settings, Context(storage, executor, progress))

    with prefect_api():
        found: ManyResult = flow(name="mine-many", validate_parameters=False, persist_result=False)(run)(settings)
    return found


def mine_all(settings: ManySettings, context: Context) -> ManyResult:
    """The run itself, in whatever runs it. All datasets are read and checked before a model runs.

    Raises:
        InputError: two corpora have different documents, or two datasets different queries, under one id; or one dataset is not usable.
        UsageError: a recipe or source of one dataset does not fit.
    """
    runs = {member.dataset.name: settings.of(member).under(context.storage) for member in settings.datasets}
    borrowed = {member.dataset.name: _borrowed(settings, member) for member in settings.datasets}
    if settings.train is not None:
        check_training(settings.model, settings.train)
    _check(context, runs, borrowed, settings.train is not None)
    budget = judge_budget(settings.judge)
    rounds = [mine_round(run, context, borrowed=borrowed[name], budget=budget) for name, run in runs.items()]
    files = [_mixed(context, settings, rounds, name) for name in settings.formats if name in MIXED]
    update_pointer(context.storage, f"mixtures/{settings.mixture.name}", lambda _: _pointer(rounds, files))
    shown = tuple(file.model_copy(update={"folder": f"{context.storage.root}/{file.folder}"}) for file, _ in files)
    trained = train_mixture(context, settings.mixture.name, settings.train) if settings.train is not None else None
    if trained is not None:
        build_audit(context.storage)
    return ManyResult(root=context.storage.root, name=settings.mixture.name, rounds=tuple(rounds), mixture=shown, trained=trained)


def _check(context: Context, runs: Mapping[str, MineSettings], borrowed: Mapping[str, Sequence[Source]], trains: bool) -> None:
    """Everything that can be wrong without a model."""
    for run in runs.values():
        check_models(run, context.storage)
    datasets: dict[str, Dataset] = {}
    recipes: dict[str, Recipe] = {}
    for name, run in runs.items():
        datasets[name] = prepare_dataset(context, run, borrowed[name])
        recipes[name] = compose_recipes(run, datasets[name])[0]
        check_trained(context.storage, run, datasets[name], trains)
    check_rows(recipes, next(iter(runs.values())).formats)
    for one, other in itertools.combinations(datasets.values(), 2):
        check_ids(context.storage, one, other)
    for name, run in runs.items():
        given_candidates(context, run, run.retrieve, datasets[name])


def check_rows(recipes: Mapping[str, Recipe], formats: Sequence[str]) -> None:
    """Refuse recipes whose rows cannot lie in one set of files.

    Args:
        recipes: the published one of each dataset, by its name.
        formats: that are written.

    Raises:
        UsageError: a recipe has training stages of its own, or n-tuples of two datasets have different columns.
    """
    for name, recipe in recipes.items():
        if recipe.stages != ["main"]:
            raise UsageError(
                f"dataset {name}: recipe {recipe.name!r} has the training stages {', '.join(recipe.stages)}, which cannot be mixed",
                "take a recipe with one training stage (main) for it, or mine the dataset in a run of its own",
            )
    by_negatives = sorted(recipes.items(), key=lambda each: each[1].num_negatives)
    (first, least), (last, most) = by_negatives[0], by_negatives[-1]
    if "n-tuple" in formats and least.num_negatives != most.num_negatives:
        raise UsageError(
            f"format n-tuple: rows of {last} have {most.num_negatives} negatives (recipe {most.name!r}), "
            f"rows of {first} {least.num_negatives} (recipe {least.name!r}): columns that cannot lie in one table",
            "give all datasets the same num_negatives, or write a format whose rows may differ, as triplet or labeled-list",
        )


def check_trained(storage: Storage, run: MineSettings, dataset: Dataset, trains: bool = False) -> None:
    """Refuse a dataset none of whose queries is trained on: it would have no row to mix in.

    Rows of the split that ``dataset.split`` names are written too, but with ``trains`` they do not help: nothing is trained on them here.

    Raises:
        InputError: that is so.
    """
    queries = read_parts(storage, dataset.queries, "queries.parquet", ["query_id", "split"])
    judged = read_parts(storage, dataset.queries, "qrels.parquet", ["query_id", "relevance"])
    positive = judged.filter(pc.greater_equal(judged["relevance"], run.dataset.positive_min_grade))["query_id"]
    asked = "" if run.dataset.splits or trains else run.dataset.split.lower()
    own = pc.or_(is_trained(queries["split"]), pc.fill_null(pc.equal(pc.utf8_lower(queries["split"]), asked), False))
    if not pc.any(pc.and_(own, pc.is_in(queries["query_id"], value_set=positive.combine_chunks()))).as_py():
        splits = ", ".join(sorted({str(each) for each in pc.unique(queries["split"]).to_pylist()}))
        raise InputError(
            f"dataset {dataset.name}: no query with a positive is of split train, or of none: it has no row to mix in (splits: {splits})",
            "set dataset.splits, as in {train: 0.8, dev: 0.1, test: 0.1}, or leave the dataset out",
        )


def check_ids(storage: Storage, one: Dataset, other: Dataset) -> None:
    """Refuse an id that means different texts in two datasets: no training file, run or judgement could say which is meant.

    Raises:
        InputError: which id, and in which datasets.
    """
    for parts, file, column, what in (
        ("documents", "docs.parquet", "doc_id", "document"),
        ("queries", "queries.parquet", "query_id", "query"),
    ):
        left, right = (read_parts(storage, getattr(each, parts), file, [column, "input_hash"]) for each in (one, other))
        place = pc.index_in(right[column].combine_chunks(), value_set=left[column].combine_chunks())
        own = left["input_hash"].combine_chunks().take(place)
        clashing = right.filter(pc.fill_null(pc.not_equal(own, right["input_hash"].combine_chunks()), False))
        if clashing.num_rows:
            first = pc.min(clashing[column]).as_py()
            raise InputError(
                f"datasets {one.name} and {other.name}: {clashing.num_rows:,} {what} ids stand for different texts, as {first!r} does",
                f"tell them apart: dataset.id_prefix of one of them, as in id_prefix: {other.name}-",
            )


def _borrowed(settings: ManySettings, member: Member) -> list[Source]:
    """The corpora of other datasets that a dataset asks for."""
    others = {each.dataset.name: each.dataset for each in settings.datasets}
    return [source for name in member.search for source in borrowed_sources(others[name])]


def _mixed(context: Context, settings: ManySettings, rounds: Sequence[MineResult], name: str) -> tuple[MixedFiles, StageManifest]:
    ingredients = [
        _ingredient(context.storage, settings, member, mined, name) for member, mined in zip(settings.datasets, rounds, strict=True)
    ]
    manifest, folder = mixture(context, name, ingredients, settings.mixture, settings.rows_per_shard)
    meta: dict[str, Any] = manifest.parts[0].meta
    return MixedFiles(format=name, folder=folder, rows=int(meta["rows"]), datasets=meta["datasets"]), manifest


def _ingredient(storage: Storage, settings: ManySettings, member: Member, mined: MineResult, name: str) -> Ingredient:
    run, record = settings.of(member), find_round(storage, mined.round)
    reference, table = record.selection(mined.selection_id).shards[name], stored_table(storage, record)
    return Ingredient(
        name=member.dataset.name,
        task=member.task,
        weight=member.weight,
        prompts={"query": run.model.query_prompt, "document": run.document_encoder.document_prompt},
        round=mined.round,
        recipe=mined.selection.recipe,
        selection_id=mined.selection_id,
        shards=stored_stage(storage, reference).parts,  # type: ignore[arg-type]
        queries=table.queries,
        documents=table.documents,
        positive_min_grade=run.dataset.positive_min_grade,
    )


def _pointer(rounds: Sequence[MineResult], files: Sequence[tuple[MixedFiles, StageManifest]]) -> dict[str, Any]:
    """What the newest files are; all that they need is kept by it."""
    formats = {file.format: {"stage": manifest.stage, "key": manifest.key, "folder": file.folder} for file, manifest in files}
    return {"rounds": [mined.round for mined in rounds], "formats": formats}
