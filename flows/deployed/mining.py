"""Flows that mine: ``mine``, ``quickstart`` and ``remine``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect import State, flow
from prefect.logging import get_run_logger
from prefect.states import Completed
from pydantic import Field

from flows.cluster import cluster
from flows.configuration import validate, with_recipe_files
from flows.deployed.approval import Again, Discarded, ask
from flows.deployed.artifacts import publish_artifacts, publish_loop
from flows.deployed.events import owe_event, send_owed
from flows.deployed.forms import Choice, Models, Place, Publishing, Source, further_values, merged
from flows.deployed.occasion import next_settings, stale_share, why_mine
from flows.deployed.place import place_of, rename, turn
from flows.mine import mine_round
from flows.progress import ArtifactProgress
from flows.quickstart import DOCUMENTS, QUERIES, quickstart_settings
from flows.results import MineResult
from flows.rounds import RoundsResult, mine_rounds
from flows.selection import Selected
from flows.settings import MineSettings
from flows.watch import earlier_teachers
from tasks.audit.records import RoundRecord, read_round
from tasks.remote.budget import Budget
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.lease import at_work
from tasks.store.storage import open_storage

Dataset = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
_MODELS, _CHOICE, _PUBLISHING, _PLACE = Models(), Choice(), Publishing(), Place()
Share = Annotated[float, Field(ge=0, le=1)]
Documents = Annotated[int, Field(ge=100, le=100_000)]
Queries = Annotated[int, Field(ge=20, le=10_000)]


def settings_of(source: Source, models: Models, choice: Choice, place: Place, further: str) -> MineSettings:
    """A run's settings, as run.yaml would have them.

    Raises:
        UsageError: a field is wrong.
    """
    values: dict[str, Any] = {"dataset": source.values(), **models.values(), **choice.values()}
    values |= place_of(place)
    settings = validate(MineSettings, merged(values, further_values(further)), file="form")
    return with_recipe_files(settings, Path.cwd()).resolved(Path.cwd())


@flow(name="mine", flow_run_name="mine-{dataset.name}")
def mine(
    dataset: Source,
    models: Models = _MODELS,
    negatives: Choice = _CHOICE,
    publishing: Publishing = _PUBLISHING,
    place: Place = _PLACE,
    further: str = "",
) -> State[Any]:
    """Mine a round: embed, retrieve, score, select, write training files, publish. With rounds or train in further: train, and go on.

    Args:
        dataset: What is mined.
        models: The retriever whose negatives are mined, and the teacher that judges them.
        negatives: Which candidates become negatives, and how they are written.
        publishing: What happens with a round that is ready.
        place: Where the run keeps everything, and where it computes.
        further: Any other setting as YAML, as in {retrieve: {dense: {top_k: 200}}, seed: 1}. It goes over what is chosen above.
    """
    return mine_and_publish(settings_of(dataset, models, negatives, place, further), publishing)


@flow(name="quickstart", flow_run_name="quickstart")
def quickstart(max_documents: Documents = DOCUMENTS, max_queries: Queries = QUERIES, place: Place = _PLACE) -> State[Any]:
    """Mine the docstrings of the installed Python packages: the whole pipeline on real text, in about six minutes.

    Args:
        max_documents: Docstrings that are documents, at most.
        max_queries: First paragraphs that are queries, at most.
        place: Where the run keeps everything, and where it computes.
    """
    where = place_of(place)
    return mine_and_publish(quickstart_settings(where["root"], max_documents, max_queries).model_copy(update=where), _PUBLISHING)


@flow(name="remine", flow_run_name="remine-{dataset}")
def remine(
    dataset: Dataset,
    retriever: str = "",
    stale_above: Share = 0.5,
    always: bool = False,
    publishing: Publishing = _PUBLISHING,
    place: Place = _PLACE,
) -> State[Any]:
    """Mine the next round of a dataset as the last one was mined, if there is a reason to; else end in seconds and say so.

    Args:
        dataset: A dataset that has rounds.
        retriever: The newest checkpoint; empty: the model of the last round.
        stale_above: Mine again when the last round's negatives have lost this share of the loss they began with; 1: never for that reason.
        always: Mine whatever has changed.
        publishing: What happens with a round that is ready.
        place: Where the run keeps everything, and where it computes.
    """
    where = place_of(place)
    storage = open_storage(where["root"])
    read_round(storage, dataset)  # so that a name without rounds gets no limit
    with turn(dataset):  # what is decided on is still so when it is mined
        send_owed(storage, dataset)
        record = read_round(storage, dataset)
        settings = next_settings(storage, record, retriever, where)
        share = stale_share(storage, record)
        reasons = ["asked for"] if always else why_mine(storage, record, settings, stale_above, share)
        if not reasons:
            rename(f"remine-{dataset}-nothing-to-do")
            return Completed(
                message=f"nothing to do: model, documents and negatives of round {record.dataset}/{record.number} are as they were"
            )
        get_run_logger().info("mining again: %s", "; ".join(reasons))
        return _mine_in_turn(settings, publishing, "remine", earlier_teachers(storage, settings))


def mine_and_publish(settings: MineSettings, publishing: Publishing) -> State[Any]:
    """One round, or the loop where the settings train, in a flow run, in turn with other runs of its dataset.

    Each round is approved where it must be, shown in artifacts, and announced if it is new.

    Args:
        settings: of the run.
        publishing: what happens with a round that is ready.
    """
    with turn(settings.dataset.name):
        send_owed(open_storage(settings.root), settings.dataset.name)
        return _mine_in_turn(settings, publishing, "mine")


def _mine_in_turn(settings: MineSettings, publishing: Publishing, verb: str, teachers_of: RoundRecord | None = None) -> State[Any]:
    """As :func:`mine_and_publish`, when it is the run's turn.

    Args:
        settings: of the run.
        publishing: what happens with a round that is ready.
        verb: what the run's name begins with.
        teachers_of: an earlier round whose trained teachers score this one too.
    """
    asked = ask(publishing.ask_above, publishing.wait_hours) if publishing.ask_above < 1 else None
    storage = open_storage(settings.root)
    with ArtifactProgress() as progress, cluster(settings, progress) as executor, at_work(storage, verb):
        context = Context(storage, executor, progress)

        def approve(selected: Selected, again: Again) -> Selected:
            chosen = asked(selected, again) if asked else selected
            owe_event(storage, settings.dataset.name, chosen.record.selection_id, settings.trains)
            return chosen

        def one(own: MineSettings, context: Context, first: RoundRecord | None, budget: Budget | None) -> MineResult:
            result = mine_round(own, context, approve, first, budget=budget)
            rename(f"{verb}-{result.dataset}-r{result.number}")
            send_owed(storage, result.dataset)
            record = read_round(context.storage, result.dataset, result.number)
            publish_artifacts(Context(context.storage, lambda: InlineExecutor(2), progress), record, result, publishing.report)
            return result

        try:
            if settings.trains:
                return _looped(mine_rounds(settings, context, one))
            result = one(settings, context, teachers_of, None)
        except Discarded as discarded:
            return Completed(name="Discarded", message=discarded.message)
    negatives = result.selection.decisions.get("negative", 0)
    return Completed(message=f"round {result.round}: {negatives:,} negatives by {result.selection.recipe} for {result.queries:,} queries")


def _looped(result: RoundsResult) -> State[Any]:
    """The loop's table, and its best checkpoint."""
    values = [row[result.measure] for row in publish_loop(result)]
    told = f"{len(result.rounds)} rounds; {result.measure} on {result.split} {values[0]:.4f} before, {max(values):.4f} with {result.best}"
    return Completed(message=f"{told}; ended early: {result.stopped}" if result.stopped else told)
