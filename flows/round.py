"""One round: which stage reads which, from the source to the scored table. Wiring only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.labels import further_labels
from flows.scoring import Candidates, Scoring, score_candidates
from flows.selection import check_features
from flows.settings import MineSettings
from flows.sources import Given, given_candidates, search_further
from tasks.corpus.dataset import Dataset
from tasks.corpus.sources import Source
from tasks.corpus.task import ingest_dataset
from tasks.embed.task import embed_documents, embed_queries
from tasks.errors import UsageError
from tasks.folds import Fold
from tasks.models.spans import sight_of
from tasks.retrieve.settings import RetrieveSettings
from tasks.retrieve.task import candidates, retrieve_bm25, retrieve_dense
from tasks.runner.runner import Context
from tasks.select.asking import check_lazy
from tasks.select.recipe import Facts, Recipe
from tasks.select.registry import compose_recipe
from tasks.store.keys import digest
from tasks.store.manifest import Part, StageManifest


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
    scoring: Scoring
    document_vectors: StageManifest
    query_vectors: StageManifest
    planted: int
    query_count: int  # queries that were mined
    chunk: Fold | None
    stages: tuple[StageManifest, ...]

    @property
    def table(self) -> StageManifest:
        """The scored table."""
        return self.scoring.table

    @property
    def calibration(self) -> StageManifest | None:
        """What the teacher's logits are worth; none: no teacher, or a lazy one."""
        return self.scoring.calibration

    @property
    def teacher_facts(self) -> Mapping[str, Any]:
        """What the teachers' training says."""
        return self.scoring.facts

    @property
    def teachers(self) -> StageManifest:
        """The stage ``train-teacher``, of a run that trains teachers: its parts are they."""
        return next(manifest for manifest in self.stages if manifest.stage == "train-teacher")

    @property
    def candidate_set_id(self) -> str:
        """Identity of the candidates with all their scores: the table's content, and whose selections it is for where it is partial."""
        partial = self.table.settings.get("partial")
        return digest(self.table.checksum, partial) if partial else self.table.checksum


def compose_recipes(settings: MineSettings, dataset: Dataset, queries: int | None = None) -> list[Recipe]:
    """The run's recipes, the published one first; ``queries``: how many are mined, by default all."""
    asked = dataset.query_count if queries is None else queries
    return recipes_for(settings, Facts(settings.num_negatives, dataset.max_positives, dataset.document_count, asked, dataset.chunked))


def recipes_for(settings: MineSettings, facts: Facts) -> list[Recipe]:
    """The run's recipes over a dataset of which the counts are known, the published one first."""
    wanted = [settings.recipe, *(recipe for recipe in settings.recipes if recipe != settings.recipe)]
    recipes = [compose_recipe(recipe, facts) for recipe in wanted]
    for recipe in recipes:
        known = {"dense", "bm25", "random", *settings.retrieve.sources}
        unknown = sorted(set(recipe.needs.sources) - known)
        if unknown:
            mend = f"the sources are {', '.join(sorted(known))}; others are named under retrieve.further"
            raise UsageError(f"recipe {recipe.name!r} needs a source {unknown[0]!r}", mend)
        check_features(recipe, settings.fixed_encoder is not None)
        if recipe.needs.teacher_depth and settings.teacher is None:
            raise UsageError(
                f"recipe {recipe.name!r} compares teacher scores, and the run has no teacher",
                "set teacher: {path: …}, teacher: {train: {}} to train one on the labelled pairs, or a recipe without one",
            )
        if settings.teacher is not None and settings.teacher.lazy:
            check_lazy(recipe)
    return recipes


def depths(settings: MineSettings, recipes: Sequence[Recipe]) -> Depths:
    """Depth by source and for the teacher: the settings', deepened to what recipes need unless ``truncate`` is set."""
    needs: dict[str, int] = {}
    for recipe in () if settings.truncate else recipes:
        for source, depth in recipe.needs.sources.items():
            needs[source] = max(depth, needs.get(source, 0))
    teacher = 0
    if settings.teacher is not None:
        teacher = max([settings.teacher.depth, *(0 if settings.truncate else recipe.needs.teacher_depth for recipe in recipes)])
    return Depths(settings.retrieve.deepened(needs), teacher)


def mine_candidates(
    context: Context, settings: MineSettings, dataset: Dataset, recipes: Sequence[Recipe], teachers: StageManifest | None = None
) -> ScoredRound:
    """Embed, retrieve, score: all that runs models.

    Args:
        context: storage, executor, progress.
        settings: of the run.
        dataset: as ingested.
        recipes: what the round must be deep enough for.
        teachers: trained by an earlier round, to be used instead of new ones.
    """
    depth = depths(settings, recipes)
    given = given_candidates(context, settings, depth.retrieve, dataset)
    documents = embed_documents(context, settings.document_encoder, dataset.name, dataset.documents)
    queries = embed_queries(context, settings.model, dataset.name, dataset.queries)
    stages = [*dataset.stages, *given.stages, documents, queries]
    merged = _retrieve(context, settings, depth.retrieve, dataset, documents, queries, given, stages)
    fixed_documents: Sequence[Part] = ()
    fixed_queries: Sequence[Part] = ()
    if settings.fixed_encoder is not None:
        stages.append(embed_documents(context, settings.fixed_encoder, dataset.name, dataset.documents))
        fixed_documents = stages[-1].parts
        stages.append(embed_queries(context, settings.fixed_encoder, dataset.name, dataset.queries))
        fixed_queries = stages[-1].parts
    found = (depth.retrieve.sources, depth.teacher, dataset, merged, documents, queries, fixed_documents, fixed_queries)
    scoring = score_candidates(context, settings, Candidates(*found), recipes, teachers)
    return ScoredRound(
        dataset=dataset,
        depths=depth,
        scoring=scoring,
        document_vectors=documents,
        query_vectors=queries,
        planted=sum(int(part.meta["planted"]) for part in merged.parts),
        query_count=sum(int(part.meta["mined_queries"]) for part in merged.parts) if settings.chunk else dataset.query_count,
        chunk=settings.chunk,
        stages=(*stages, *scoring.stages),
    )


def prepare_dataset(context: Context, settings: MineSettings, borrowed: Sequence[Source] = ()) -> Dataset:
    """Ingest, with what was reviewed and promoted, and stop where the input is not good enough.

    Args:
        context: storage, executor, progress.
        settings: of the run.
        borrowed: documents of other datasets that are candidates too.
    """
    further = [*borrowed, *further_labels(context.storage, settings.dataset)]
    return ingest_dataset(context, settings.dataset, settings.seed, further, sight_of(settings.document_encoder, context.storage))


def _retrieve(
    context: Context,
    settings: MineSettings,
    retrieve: RetrieveSettings,
    dataset: Dataset,
    documents: StageManifest,
    queries: StageManifest,
    given: Given,
    stages: list[StageManifest],
) -> StageManifest:
    """Each source, then their union."""
    others = search_further(context, settings, retrieve, dataset, given, stages)
    searched = retrieve_dense(
        context, retrieve.dense, documents.parts, queries.parts, dataset.queries, settings.chunk, retrieve.languages, dataset.documents
    )
    found = {"dense": searched[-1]}
    stages += searched
    if retrieve.bm25 is not None:
        statistics, found["bm25"] = retrieve_bm25(
            context, retrieve.bm25, dataset.documents, dataset.queries, settings.chunk, retrieve.languages
        )
        stages += [statistics, found["bm25"]]
    merged = candidates(
        context,
        retrieve,
        dataset.documents,
        dataset.queries,
        documents.parts,
        queries.parts,
        {name: manifest.parts for name, manifest in found.items()},
        settings.dataset.positive_min_grade,
        settings.seed,
        settings.planted,
        settings.chunk,
        others,
    )
    stages.append(merged)
    return merged
