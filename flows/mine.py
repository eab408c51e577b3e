"""The flow ``mine``: one round, published only if it passes the gate."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from flows.checks import check_models, mined_queries
from flows.lineage import rounds_behind
from flows.measuring import Measuring, keep_truth
from flows.results import CostRecorder, MineResult, split_notes
from flows.review import apply_reviews
from flows.round import ScoredRound, compose_recipes, mine_candidates, prepare_dataset
from flows.selection import Selected, Table, run_selection, shard_settings
from flows.settings import MineSettings
from flows.staleness import emit_stale, staleness, staleness_lines
from flows.stored import as_published, stored_stage
from flows.teaching import record_teachers
from tasks.audit.build import build_audit
from tasks.audit.records import RoundRecord, StageRef, list_rounds, publish_round
from tasks.corpus.settings import DatasetSettings
from tasks.errors import GateError
from tasks.runner.runner import Context, Executor, Progress
from tasks.runner.stage import Job, Report, Stage
from tasks.select.recipe import Recipe
from tasks.store.manifest import Part, StageManifest
from tasks.store.storage import Storage, open_storage

Approve = Callable[[Selected, Callable[[Recipe], Selected]], Selected]


class _NotCached(Exception):
    """Some partition has to be computed."""


class _CacheOnly:
    """An executor for runs that may compute nothing."""

    def map(self, root: str, stage: Stage, jobs: Sequence[Job], report: Report) -> Iterator[Part]:
        """Always refuses."""
        raise _NotCached(stage.name)


def mine(settings: MineSettings, progress: Progress, teachers_of: RoundRecord | None = None) -> MineResult:
    """Mine one round. A run that is wholly cached starts neither Prefect nor Dask, and loads no model.

    Args:
        settings: of the run, with absolute paths.
        progress: who is told how far it is.
        teachers_of: an earlier round whose trained teachers score this one too, instead of new ones.
    """
    if not os.environ.get("PREFECT_API_URL"):
        try:
            return mine_round(settings, Context(open_storage(settings.root), _CacheOnly, _Quiet()), teachers_of=teachers_of)
        except _NotCached:
            pass
    from flows.server import prefect_api

    with prefect_api():
        result: MineResult = _flow(progress, teachers_of)(settings)
    return result


def mine_round(
    settings: MineSettings, context: Context, approve: Approve | None = None, teachers_of: RoundRecord | None = None
) -> MineResult:
    """The round itself, in whatever runs it.

    Args:
        settings: of the run.
        context: storage, executor, progress.
        approve: is given the selection that is about to be published, and a function that selects anew by another recipe; says what to
            publish in its place, or stops the run.
        teachers_of: an earlier round whose trained teachers score this one too, instead of new ones.
    """
    costs = CostRecorder(context.progress)
    context = Context(context.storage, context.executor, costs)
    settings = settings.under(context.storage)
    check_models(settings, context.storage)
    truth = keep_truth(context.storage, settings)
    dataset = prepare_dataset(context, settings)
    recipes = compose_recipes(settings, dataset, mined_queries(context.storage, settings, dataset))
    scored = mine_candidates(context, settings, dataset, recipes, _teachers(context.storage, settings, teachers_of))
    table = _table(scored, settings.dataset, Measuring.of(settings, truth))
    selected, refused = _select_all(context, settings, table, recipes)
    if approve is not None:
        selected[0] = approve(selected[0], lambda recipe: _select(context, settings, table, recipe))
    drafted = _record(settings, scored, selected, table)
    before = list_rounds(context.storage, drafted.dataset)
    looked_back = staleness(context, drafted, rounds_behind(context.storage, settings, before), settings.staleness)
    record = publish_round(context.storage, looked_back.recorded(drafted))
    if teachers_of is None:
        record_teachers(context.storage, settings, record.number, scored)
    if record.candidate_set_id not in {one.candidate_set_id for one in before}:  # a round that is mined again says nothing new
        emit_stale(record, settings.root, looked_back.facts, settings.staleness.limit)
    record = apply_reviews(context, record)
    build_audit(context.storage)
    return MineResult(
        root=context.storage.root,
        round=f"{record.dataset}/{record.number}",
        dataset=record.dataset,
        number=record.number,
        candidate_set_id=record.candidate_set_id,
        selection_id=selected[0].record.selection_id,
        documents=dataset.document_count,
        queries=scored.query_count,
        rejected_input=dataset.rejected,
        selections=tuple(as_published(context.storage, record, one.result) for one in selected),
        stages=tuple(costs.costs),
        facts=dict(scored.teacher_facts),
        notes=(*refused, *split_notes(selected[0].result), *_notes(settings, scored, recipes, table), *staleness_lines(looked_back.facts)),
        staleness=looked_back.facts,
    )


def _teachers(storage: Storage, settings: MineSettings, earlier: RoundRecord | None) -> StageManifest | None:
    """The teachers that an earlier round trained, where this one would train some."""
    if earlier is None or settings.teacher is None or settings.teacher.train is None:
        return None
    return stored_stage(storage, earlier.stage("train-teacher"))


def _select_all(context: Context, settings: MineSettings, table: Table, recipes: Sequence[Recipe]) -> tuple[list[Selected], list[str]]:
    """The published recipe, which must pass the gate, and the others that do; what the gate said of those that do not."""
    selected, refused = [], []
    for number, recipe in enumerate(recipes):
        try:
            selected.append(_select(context, settings, table, recipe))
        except GateError as error:
            if number == 0:
                raise
            refused.append(f"recipe {recipe.name} is not published: {error.message}")
    return selected, refused


def _select(context: Context, settings: MineSettings, table: Table, recipe: Recipe) -> Selected:
    return run_selection(context, table, recipe, settings.formats, shard_settings(settings, recipe), settings.seed)


def cluster(settings: MineSettings) -> AbstractContextManager[Callable[[], Executor]]:
    """The run's :func:`executors`."""
    return executors(settings.cluster, settings.workers)


@contextmanager
def executors(address: str, workers: int | None) -> Iterator[Callable[[], Executor]]:
    """A function that gives a run's executor, started when the first partition needs it and ended with the run.

    Args:
        address: ``local``, or a Dask scheduler's.
        workers: processes of a local cluster.
    """
    started: list[Any] = []

    def executor() -> Executor:
        if not started:
            from tasks.runner.dask_executor import DaskExecutor

            started.append(DaskExecutor(address, workers))
        found: Executor = started[0]
        return found

    try:
        yield executor
    finally:
        for one in started:
            one.close()


def _flow(progress: Progress, teachers_of: RoundRecord | None) -> Any:
    from prefect import flow

    def run(settings: MineSettings) -> MineResult:
        with cluster(settings) as executor:
            return mine_round(settings, Context(open_storage(settings.root), executor, progress), teachers_of=teachers_of)

    return flow(name="mine", flow_run_name="mine-{settings.dataset.name}", validate_parameters=False, persist_result=False)(run)


class _Quiet:
    """Tells nobody."""

    def start(self, stage: str, unit: str, total: int, done: int) -> None:
        """Nothing."""

    def advance(self, stage: str, units: int) -> None:
        """Nothing."""

    def finish(self, manifest: Any, cached: bool) -> None:
        """Nothing."""


def _table(scored: ScoredRound, labels: DatasetSettings, measuring: Measuring) -> Table:
    retrieve = scored.depths.retrieve
    depths = {"dense": retrieve.dense.top_k, "teacher": scored.depths.teacher}
    if retrieve.bm25:
        depths["bm25"] = retrieve.bm25.top_k
    if retrieve.random:
        depths["random"] = retrieve.random.count
    return Table(
        candidate_set_id=scored.candidate_set_id,
        sources=retrieve.sources,
        scored=scored.table.parts,
        queries=scored.dataset.queries,
        documents=scored.dataset.documents,
        query_vectors=scored.query_vectors.parts,
        document_vectors=scored.document_vectors.parts,
        calibration=scored.calibration.parts if scored.calibration else (),
        planted=scored.planted,
        depths=depths,
        labels=labels,
        measuring=measuring,
        chunk=scored.chunk,
    )


def _record(settings: MineSettings, scored: ScoredRound, selected: Sequence[Selected], table: Table) -> RoundRecord:
    stages = [*scored.stages, *(manifest for one in selected for manifest in one.stages)]
    return RoundRecord(
        dataset=settings.dataset.name,
        candidate_set_id=scored.candidate_set_id,
        selection_id=selected[0].record.selection_id,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        selections=tuple(one.record for one in selected),
        stages=tuple(_reference(manifest) for manifest in stages),
        settings={
            **settings.model_dump(mode="json", exclude={"root"}),
            "depths": table.depths,
            "sources": list(table.sources),
            "facts": {
                "max_positives": scored.dataset.max_positives,
                "documents": scored.dataset.document_count,
                "queries": scored.query_count,
            },
            "teacher_facts": dict(scored.teacher_facts),
            "planted_pairs": scored.planted,
            **table.measuring.recorded,
        },
        roles={
            "scored": _reference(scored.table),
            "document_vectors": _reference(scored.document_vectors),
            "query_vectors": _reference(scored.query_vectors),
            **({"calibrate": _reference(scored.calibration)} if scored.calibration else {}),
            **{name: _reference(manifest) for name, manifest in _corpus(scored).items()},
        },
    )


def _corpus(scored: ScoredRound) -> dict[str, StageManifest]:
    return {manifest.stage: manifest for manifest in scored.dataset.stages if manifest.stage in ("documents", "queries")}


def _reference(manifest: StageManifest) -> StageRef:
    return StageRef(stage=manifest.stage, key=manifest.key)


def _notes(settings: MineSettings, scored: ScoredRound, recipes: Sequence[Recipe], table: Table) -> Iterator[str]:
    """What a reader of the summary should know besides the counts."""
    if scored.chunk is not None:
        yield (
            f"chunk {settings.query_chunk} of {settings.query_chunks} (from 0) was mined: {scored.query_count:,} of "
            f"{scored.dataset.query_count:,} queries; the others count by their labels only"
        )
    for recipe in recipes:
        for name, depth in {**recipe.needs.sources, "teacher": recipe.needs.teacher_depth}.items():
            if depth > table.depths.get(name, 0):
                yield f"recipe {recipe.name} was truncated: {name} mined to rank {table.depths.get(name, 0)}, {depth} needed"
    auc = scored.teacher_facts.get("auc_after")
    if auc is not None and auc < settings.truth.calibration.auc_floor:
        yield f"the teacher hardly tells relevant from not (AUC {auc:.2f} on held-out queries): do not trust its scores; train it longer"
    elif scored.calibration is not None and scored.calibration.parts[0].meta["verdict"] == "cannot tell":
        told = scored.calibration.parts[0].meta["auc"]
        yield f"the teacher cannot tell labelled documents from other candidates (AUC {told:.2f}): do not trust its scores"
    if settings.retrieve.dense.top_k < table.depths["dense"]:
        yield f"dense retrieval deepened from {settings.retrieve.dense.top_k} to {table.depths['dense']} as a recipe needs"
