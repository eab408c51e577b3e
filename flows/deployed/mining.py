"""Flows that mine: ``mine``, ``quickstart`` and ``remine``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect import State, flow
from prefect.logging import get_run_logger
from prefect.states import Completed
from pydantic import Field

from flows.configuration import validate, with_recipe_files
from flows.deployed.approval import Discarded, ask
from flows.deployed.artifacts import publish_artifacts
from flows.deployed.events import emit_published
from flows.deployed.forms import Choice, Models, Place, Publishing, Source, further_values, merged
from flows.deployed.occasion import stale_share, why_mine
from flows.deployed.place import rename, root_of, turn
from flows.mine import cluster, mine_round
from flows.progress import ArtifactProgress
from flows.quickstart import quickstart_settings
from flows.settings import MineSettings
from flows.stored import stored_settings
from tasks.audit.records import read_round
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.storage import open_storage

Dataset = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
_MODELS, _CHOICE, _PUBLISHING, _PLACE = Models(), Choice(), Publishing(), Place()
Share = Annotated[float, Field(ge=0, le=1)]


def settings_of(source: Source, models: Models, choice: Choice, place: Place, further: str) -> MineSettings:
    """A run's settings, as run.yaml would have them.

    Raises:
        UsageError: a field is wrong.
    """
    values: dict[str, Any] = {"dataset": source.values(), **models.values(), **choice.values()}
    values |= {"root": root_of(place), "cluster": place.cluster, "workers": place.workers or None}
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
    """Mine one round: embed, retrieve, score, select, write training files, publish.

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
def quickstart(place: Place = _PLACE) -> State[Any]:
    """Mine the docstrings of the installed Python packages: the whole pipeline on real text, in about six minutes.

    Args:
        place: Where the run keeps everything, and where it computes.
    """
    return mine_and_publish(quickstart_settings(root_of(place)), _PUBLISHING)


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
    root = root_of(place)
    storage = open_storage(root)
    record = read_round(storage, dataset)
    changed: dict[str, Any] = {"root": root, "cluster": place.cluster, "workers": place.workers or None}
    before = stored_settings(record)
    if retriever:
        changed["model"] = before.model.model_copy(update={"path": retriever})
    settings = before.model_copy(update=changed).resolved(Path.cwd())
    share = stale_share(storage, record)
    reasons = ["asked for"] if always else why_mine(storage, record, settings, stale_above, share)
    if not reasons:
        rename(f"remine-{dataset}-nothing-to-do")
        return Completed(
            message=f"nothing to do: model, documents and negatives of round {record.dataset}/{record.number} are as they were"
        )
    get_run_logger().info("mining again: %s", "; ".join(reasons))
    return mine_and_publish(settings, publishing, verb="remine")


def mine_and_publish(settings: MineSettings, publishing: Publishing, verb: str = "mine") -> State[Any]:
    """One round in a flow run: in turn with other runs of its dataset, approved where it must be, shown in artifacts, announced."""
    approve = ask(publishing.ask_above, publishing.wait_hours) if publishing.ask_above < 1 else None
    with turn(settings.dataset.name), cluster(settings) as executor, ArtifactProgress() as progress:
        context = Context(open_storage(settings.root), executor, progress)
        try:
            result = mine_round(settings, context, approve)
        except Discarded as discarded:
            return Completed(name="Discarded", message=discarded.message)
        rename(f"{verb}-{result.dataset}-r{result.number}")
        record = read_round(context.storage, result.dataset, result.number)
        publish_artifacts(Context(context.storage, lambda: InlineExecutor(2), progress), record, result, publishing.report)
    emit_published(record, settings.root)
    negatives = result.selection.decisions.get("negative", 0)
    return Completed(message=f"round {result.round}: {negatives:,} negatives by {result.selection.recipe} for {result.queries:,} queries")
