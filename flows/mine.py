"""The flow ``mine``: one round, published only if it passes the gate."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from flows.cache_only import LOOKING, FewOnly, Quiet, SelectingOnly
from flows.checks import check_models, mined_queries
from flows.cluster import cluster
from flows.cut import cut_notes
from flows.judge_round import keep_judging
from flows.judging import judge_budget, judge_recipe
from flows.lineage import rounds_behind
from flows.measuring import Measuring, keep_truth
from flows.planning.outlays import outlays
from flows.rates import teacher_warnings
from flows.results import CostRecorder, MineResult, split_notes
from flows.review import apply_reviews
from flows.round import ScoredRound, compose_recipes, mine_candidates, prepare_dataset
from flows.selection import Selected, Table, run_selection, shard_settings
from flows.settings import MineSettings
from flows.staleness import owe_stale_event, send_owed_events, staleness, staleness_lines
from flows.stored import as_published, stored_stage
from flows.teaching import record_teachers
from tasks.audit.build import build_audit
from tasks.audit.records import RoundRecord, StageRef, list_rounds, publish_round
from tasks.corpus.settings import DatasetSettings
from tasks.corpus.sources import Source
from tasks.errors import GateError
from tasks.plan.plan import Plan
from tasks.remote.budget import Budget
from tasks.runner.runner import Context, Progress
from tasks.runner.stage import NotCached
from tasks.select.recipe import Recipe
from tasks.store.lease import at_work
from tasks.store.manifest import StageManifest
from tasks.store.storage import Storage, open_storage

Approve = Callable[[Selected, Callable[[Recipe], Selected]], Selected]


def mine(settings: MineSettings, progress: Progress, teachers_of: RoundRecord | None = None) -> MineResult:
    """Mine one round. A run of which nearly all is cached starts neither Prefect nor Dask; one that only selects loads no model either.

    Args:
        settings: of the run, with absolute paths.
        progress: who is told how far it is.
        teachers_of: an earlier round whose trained teachers score this one too, instead of new ones.
    """
    one = partial(mine_round, teachers_of=teachers_of, budget=judge_budget(settings.judge))
    if not os.environ.get("PREFECT_API_URL"):
        here = FewOnly if settings.cluster == "local" else SelectingOnly  # models run where the user wants them
        with suppress(NotCached), at_work(storage := open_storage(settings.root), "mine"):
            return one(settings, Context(storage, here, Quiet()))
    from flows.server import prefect_api

    with prefect_api():
        result: MineResult = _flow(progress, one)(settings)
    return result


def mine_round(
    settings: MineSettings,
    context: Context,
    approve: Approve | None = None,
    teachers_of: RoundRecord | None = None,
    borrowed: Sequence[Source] = (),
    budget: Budget | None = None,
) -> MineResult:
    """The round itself, in whatever runs it.

    Args:
        settings: of the run.
        context: storage, executor, progress.
        approve: is given the selection to be published and a function that selects by another recipe; gives what to publish, or stops.
        teachers_of: an earlier round whose trained teachers score this one too, instead of new ones.
        borrowed: documents of other datasets that are candidates too.
        budget: of the judges, where one command mines several rounds.
    """
    costs = CostRecorder(context.progress)
    context = Context(context.storage, context.executor, costs)
    settings = settings.under(context.storage)
    check_models(settings, context.storage)
    planned = None if context.executor in LOOKING else _plan(settings)
    truth = keep_truth(context.storage, settings)
    dataset = prepare_dataset(context, settings, borrowed)
    recipes = compose_recipes(settings, dataset, mined_queries(context.storage, settings, dataset))
    scored = mine_candidates(context, settings, dataset, recipes, _teachers(context.storage, settings, teachers_of))
    table = table_of(scored, settings.dataset, Measuring.of(settings, truth))
    judged = judge_recipe(context, table, recipes[0], settings.judge, settings.seed, budget=budget) if settings.judge else None
    recipes = [judged.recipe, *recipes[1:]] if judged else recipes
    selected, refused = _select_all(context, settings, table, recipes)
    if approve is not None:
        selected[0] = approve(selected[0], lambda recipe: select_recipe(context, settings, table, recipe))
    drafted = _record(settings, scored, selected, table, costs.references)
    before = list_rounds(context.storage, drafted.dataset)
    looked_back = staleness(context, drafted, rounds_behind(context.storage, settings, before), settings.staleness)
    spent = outlays(planned, costs.costs)
    if drafted.candidate_set_id not in {one.candidate_set_id for one in before}:  # a round that is mined again says nothing new
        owe_stale_event(context.storage, drafted, looked_back.facts, settings.staleness.limit)
    record = publish_round(context.storage, looked_back.recorded(drafted.model_copy(update={"outlays": spent})))
    if teachers_of is None:
        record_teachers(context.storage, settings, record.number, scored)
    if approve is None:  # whoever approves also announces, and says both in turn
        send_owed_events(context.storage, record.dataset)
    record = apply_reviews(context, record)
    if judged is not None and selected[0].record.recipe == judged.recipe.name:
        keep_judging(context.storage, table, record, selected[0], judged)
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
        notes=(
            *refused,
            *(judged.notes if judged else ()),
            *split_notes(selected[0].result),
            *_notes(settings, scored, recipes, table),
            *staleness_lines(looked_back.facts),
        ),
        outlays=spent,
        staleness=looked_back.facts,
    )


def _plan(settings: MineSettings) -> Plan | None:
    """What the run will take, where that is known without measuring."""
    from flows.planning.planner import plan_if_known  # it looks at runs, as this module runs them

    return plan_if_known(settings)


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
            selected.append(select_recipe(context, settings, table, recipe))
        except GateError as error:
            if number == 0:
                raise
            refused.append(f"recipe {recipe.name} is not published: {error.message}")
    return selected, refused


def select_recipe(context: Context, settings: MineSettings, table: Table, recipe: Recipe) -> Selected:
    """One recipe over a scored table, as the settings have it."""
    return run_selection(context, table, recipe, settings.formats, shard_settings(settings, recipe), settings.seed)


def _flow(progress: Progress, one: Callable[[MineSettings, Context], MineResult]) -> Any:
    from prefect import flow

    def run(settings: MineSettings) -> MineResult:
        with cluster(settings, progress) as executor, at_work(storage := open_storage(settings.root), "mine"):
            return one(settings, Context(storage, executor, progress))

    return flow(name="mine", flow_run_name="mine-{settings.dataset.name}", validate_parameters=False, persist_result=False)(run)


def table_of(scored: ScoredRound, labels: DatasetSettings, measuring: Measuring) -> Table:
    """What selections over a scored round start from."""
    retrieve = scored.depths.retrieve
    depths = {**retrieve.depths, "teacher": scored.depths.teacher}
    return Table(
        candidate_set_id=scored.candidate_set_id,
        sources=retrieve.sources,
        scored=scored.table.parts,
        queries=scored.dataset.queries,
        documents=scored.dataset.documents,
        query_vectors=scored.query_vectors.parts,
        document_vectors=scored.document_vectors.parts,
        calibration=scored.calibration.parts if scored.calibration else (),
        bare=scored.scoring.bare.parts if scored.scoring.bare else (),
        planted=scored.planted,
        depths=depths,
        labels=labels,
        measuring=measuring,
        chunk=scored.chunk,
    )


def _record(
    settings: MineSettings, scored: ScoredRound, selected: Sequence[Selected], table: Table, stages: Sequence[StageRef]
) -> RoundRecord:
    return RoundRecord(
        dataset=settings.dataset.name,
        candidate_set_id=scored.candidate_set_id,
        selection_id=selected[0].record.selection_id,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        selections=tuple(one.record for one in selected),
        stages=tuple(stages),
        settings={
            **settings.model_dump(mode="json", exclude={"root"}),
            "depths": table.depths,
            "sources": list(table.sources),
            "facts": {
                "max_positives": scored.dataset.max_positives,
                "documents": scored.dataset.document_count,
                "queries": scored.query_count,
                "chunked": scored.dataset.chunked,
            },
            "teacher_facts": dict(scored.teacher_facts),
            "planted_pairs": scored.planted,
            **({"partial": dict(scored.scoring.partial)} if scored.scoring.partial else {}),
            **table.measuring.recorded,
        },
        roles={
            "scored": _reference(scored.table),
            "document_vectors": _reference(scored.document_vectors),
            "query_vectors": _reference(scored.query_vectors),
            **({"calibrate": _reference(scored.calibration)} if scored.calibration else {}),
            **({"bare": _reference(scored.scoring.bare)} if scored.scoring.bare else {}),
            **{name: _reference(manifest) for name, manifest in _corpus(scored).items()},
        },
    )


def _corpus(scored: ScoredRound) -> dict[str, StageManifest]:
    return {"documents": scored.dataset.document_stage, "queries": scored.dataset.query_stage}


def _reference(manifest: StageManifest) -> StageRef:
    return StageRef(stage=manifest.stage, key=manifest.key)


def _notes(settings: MineSettings, scored: ScoredRound, recipes: Sequence[Recipe], table: Table) -> Iterator[str]:
    """What a reader of the summary should know besides the counts."""
    if scored.chunk is not None:
        yield (
            f"chunk {settings.query_chunk} of {settings.query_chunks} (from 0) was mined: {scored.query_count:,} of "
            f"{scored.dataset.query_count:,} queries; the others count by their labels only"
        )
    if scored.scoring.partial:
        found = scored.scoring.partial
        yield (
            f"teacher scored {found['scored']:,} of {found['pairs']:,} pairs; {found['saved']:,} saved (teacher.lazy): the candidates are "
            "partial, for these recipes alone"
        )
    yield from cut_notes(scored.stages, scored.dataset.set_aside)
    yield from scored.scoring.notes
    for recipe in recipes:
        for name, depth in {**recipe.needs.sources, "teacher": recipe.needs.teacher_depth}.items():
            if depth > table.depths.get(name, 0):
                yield f"recipe {recipe.name} was truncated: {name} mined to rank {table.depths.get(name, 0)}, {depth} needed"
    calibration = scored.calibration.parts[0].meta if scored.calibration is not None else None
    yield from teacher_warnings(scored.teacher_facts, settings.truth.calibration.auc_floor, calibration)
    if settings.retrieve.dense.top_k < table.depths["dense"]:
        yield f"dense retrieval deepened from {settings.retrieve.dense.top_k} to {table.depths['dense']} as a recipe needs"
