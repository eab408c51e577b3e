"""One round: which stage reads which, from the source to the scored table. Wiring only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.settings import MineSettings
from tasks.corpus.dataset import Dataset
from tasks.corpus.task import ingest_dataset
from tasks.embed.task import embed_documents, embed_queries
from tasks.errors import UsageError
from tasks.features.task import scored, signatures
from tasks.models.settings import ModelSettings, TeacherSettings
from tasks.retrieve.settings import Bm25Settings, RandomSettings, RetrieveSettings
from tasks.retrieve.task import candidates, retrieve_bm25, retrieve_dense
from tasks.runner.runner import Context
from tasks.score.task import score
from tasks.select.recipe import Facts, Recipe
from tasks.select.registry import compose_recipe
from tasks.store.manifest import Part, StageManifest
from tasks.train.task import Teacher, find_teacher, train_teacher


@dataclass(frozen=True)
class Depths:
    """How deep a round is mined: the most that the user asks for and the recipes need."""

    retrieve: RetrieveSettings
    teacher: int


@dataclass(frozen=True)
class ScoredRound:
    """A round up to the scored table: what every selection starts from."""

    dataset: Dataset
    depths: Depths
    table: StageManifest
    stages: tuple[StageManifest, ...]
    teacher_facts: Mapping[str, Any]

    @property
    def candidate_set_id(self) -> str:
        """Identity of the candidates with all their scores: the table's content."""
        return self.table.checksum


def compose_recipes(settings: MineSettings, dataset: Dataset) -> list[Recipe]:
    """The run's recipes, the published one first."""
    facts = Facts(num_negatives=settings.num_negatives, max_positives=dataset.max_positives)
    wanted = [settings.recipe, *(recipe for recipe in settings.recipes if recipe != settings.recipe)]
    recipes = [compose_recipe(recipe, facts) for recipe in wanted]
    for recipe in recipes:
        if recipe.needs.teacher_depth and settings.teacher is None:
            raise UsageError(
                f"recipe {recipe.name!r} compares teacher scores, and the run has no teacher",
                "set teacher: {path: …}, teacher: {train: {}} to train one on the labelled pairs, or a recipe without one",
            )
    return recipes


def depths(settings: MineSettings, recipes: Sequence[Recipe]) -> Depths:
    """Depth by source and for the teacher: the settings', deepened to what recipes need unless ``truncate`` is set."""
    needs: dict[str, int] = {}
    for recipe in () if settings.truncate else recipes:
        for source, depth in recipe.needs.sources.items():
            needs[source] = max(depth, needs.get(source, 0))
    retrieve = settings.retrieve
    dense = retrieve.dense.model_copy(update={"top_k": max(retrieve.dense.top_k, needs.get("dense", 0))})
    bm25 = retrieve.bm25
    if "bm25" in needs:
        bm25 = (bm25 or Bm25Settings()).model_copy(update={"top_k": max(needs["bm25"], bm25.top_k if bm25 else 0)})
    random = retrieve.random
    if "random" in needs:
        random = RandomSettings(count=max(needs["random"], random.count if random else 0))
    teacher = 0
    if settings.teacher is not None:
        teacher = max([settings.teacher.depth, *(0 if settings.truncate else recipe.needs.teacher_depth for recipe in recipes)])
    return Depths(RetrieveSettings(dense=dense, bm25=bm25, random=random), teacher)


def mine_candidates(context: Context, settings: MineSettings, dataset: Dataset, recipes: Sequence[Recipe]) -> ScoredRound:
    """Embed, retrieve, score: all that runs models.

    Args:
        context: storage, executor, progress.
        settings: of the run.
        dataset: as ingested.
        recipes: what the round must be deep enough for.
    """
    depth = depths(settings, recipes)
    documents = embed_documents(context, settings.model, dataset)
    queries = embed_queries(context, settings.model, dataset)
    retrieved = {"dense": retrieve_dense(context, depth.retrieve.dense, documents.parts, queries.parts)}
    stages = [*dataset.stages, documents, queries, retrieved["dense"]]
    if depth.retrieve.bm25 is not None:
        statistics, retrieved["bm25"] = retrieve_bm25(context, depth.retrieve.bm25, dataset.documents, dataset.queries)
        stages += [statistics, retrieved["bm25"]]
    merged = candidates(
        context,
        depth.retrieve,
        dataset.documents,
        dataset.queries,
        documents.parts,
        queries.parts,
        {name: manifest.parts for name, manifest in retrieved.items()},
        settings.dataset.positive_min_grade,
        settings.seed,
    )
    stages.append(merged)
    pairs: Sequence[Part] = ()
    teacher: Teacher | None = None
    if settings.teacher is not None:
        teacher, trained = _teacher(context, settings.teacher, dataset, merged.parts, settings.seed)
        judged = score(context, teacher, dataset, merged.parts, depth.teacher, _model_sources(depth.retrieve))
        pairs = judged.parts
        stages += [*([trained] if trained else []), judged]
    shingles: StageManifest | None = None
    if any(recipe.signatures for recipe in recipes):
        shingles = signatures(context, dataset.documents)
        stages.append(shingles)
    table = scored(
        context, depth.retrieve.sources, merged.parts, dataset.queries, dataset.documents, pairs, shingles.parts if shingles else ()
    )
    return ScoredRound(dataset, depth, table, (*stages, table), teacher.facts if teacher else {})


def prepare_dataset(context: Context, settings: MineSettings) -> Dataset:
    """Ingest, and stop where the input is not good enough."""
    return ingest_dataset(context, settings.dataset, settings.seed)


def _teacher(
    context: Context, settings: TeacherSettings, dataset: Dataset, merged: Sequence[Part], seed: int
) -> tuple[Teacher, StageManifest | None]:
    if settings.train is None:
        return find_teacher(settings), None
    trained = train_teacher(context, settings, dataset, merged, seed)
    return find_teacher(settings, context.storage, trained.parts[0]), trained


def _model_sources(retrieve: RetrieveSettings) -> list[str]:
    """Sources whose best ranks the teacher scores: not the random one."""
    return [source for source in retrieve.sources if source != "random"]


def check_model(settings: ModelSettings) -> None:
    """Fail before anything runs if the retriever cannot be loaded."""
    from tasks.models.fingerprint import fingerprint

    fingerprint(settings)
