"""Flows over a round that is there: ``select``, ``train``, ``evaluate`` and ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import State, flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.states import Completed
from pydantic import Field, WithJsonSchema

from flows.again import select_again
from flows.configuration import validate
from flows.deployed.artifacts import artifact_key, link_report, selection_rows
from flows.deployed.forms import Place, Recipe, further_values, merged
from flows.deployed.place import rename, stages, turn
from flows.settings import Format
from flows.stored import find_round
from flows.training import evaluate_checkpoint
from flows.training import train as train_checkpoint
from tasks.audit.build import build_audit
from tasks.evaluate.settings import EvaluateSettings
from tasks.models.losses.registry import LOSSES
from tasks.models.train_settings import TrainSettings

Loss = Annotated[str, WithJsonSchema({"type": "string", "enum": list(LOSSES)})]
Whole = Annotated[int, Field(ge=0, le=1000)]
Some = Annotated[int, Field(ge=1, le=1000)]
Batch = Annotated[int, Field(ge=2, le=65_536)]
Rate = Annotated[float, Field(gt=0, le=1)]
Formats = Annotated[list[Format], Field(max_length=10)]
_TRAIN, _PLACE = TrainSettings(), Place()


@flow(name="select", flow_run_name="select-{round_name}")
def select(
    round_name: str = "latest",
    recipe: Recipe = "nv-retriever",
    num_negatives: Whole = 0,
    formats: Formats = [],  # noqa: B006  (the form's default)
    truncate: bool = False,
    further: str = "",
    place: Place = _PLACE,
) -> State[Any]:
    """Apply another recipe to a round that is there: no model runs.

    Args:
        round_name: DATASET/NUMBER, DATASET (its last round), or latest.
        recipe: The rule by which negatives are chosen.
        num_negatives: Negatives a query; 0: the round's.
        formats: Training files to write; none: the round's.
        truncate: Select even if the round is shallower than the recipe needs.
        further: Settings of the recipe as YAML, as in {ceiling: 0.05}.
        place: Where everything is kept.
    """
    with stages(place) as context:
        record = find_round(context.storage, round_name)
        wanted = merged({"name": recipe}, further_values(further))
        with turn(record.dataset):
            record, selected = select_again(context, record, wanted, num_negatives or None, formats, truncate)
    rename(f"select-{record.dataset}-r{record.number}-{recipe}")
    create_table_artifact(
        table=selection_rows(selected.result),
        key=artifact_key("selection", record.dataset),
        description=f"{record.dataset}/{record.number}",
    )
    return Completed(message=f"{selected.result.decisions.get('negative', 0):,} negatives by {selected.result.recipe}")


@flow(name="train", flow_run_name="train-{round_name}")
def train(
    round_name: str = "latest",
    selection: str = "",
    loss: Loss = _TRAIN.loss.kind,
    epochs: Some = _TRAIN.epochs,
    batch_size: Batch = _TRAIN.batch_size,
    learning_rate: Rate = _TRAIN.learning_rate,
    target: str = "",
    further: str = "",
    place: Place = _PLACE,
) -> State[Any]:
    """Fine-tune the round's retriever on its negatives; known and suspected positives are masked in the batch.

    Args:
        round_name: DATASET/NUMBER, DATASET (its last round), or latest.
        selection: A selection's recipe or id; empty: the published one.
        loss: What is minimised.
        epochs: Passes over the training rows.
        batch_size: Rows a step.
        learning_rate: Peak of the schedule.
        target: A new folder for the checkpoint; empty: it stays under the root only.
        further: Any other setting of training as YAML, as in {warmup: 0.2, seed: 1}.
        place: Where everything is kept.
    """
    chosen = {"loss": {"kind": loss}, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    settings = validate(TrainSettings, merged(chosen, further_values(further)), file="form")
    with stages(place) as context:
        record = find_round(context.storage, round_name)
        rename(f"train-{record.dataset}-r{record.number}")
        found = train_checkpoint(context, record, record.selection(selection or None), settings, Path(target).resolve() if target else None)
        build_audit(context.storage)
    create_markdown_artifact(
        markdown=f"**Checkpoint** `{found.model}`\n\nTrained on round {found.round}, recipe {found.recipe}.\n\n{_facts(found.facts)}",
        key=artifact_key("checkpoint", record.dataset),
        description=f"checkpoint of round {found.round}",
    )
    return Completed(message=f"checkpoint {found.model}")


@flow(name="evaluate", flow_run_name="evaluate-{round_name}")
def evaluate(
    round_name: str = "latest",
    model: str = "",
    split: Literal["dev", "test", "calibration"] = "dev",
    reread_test: bool = False,
    place: Place = _PLACE,
) -> State[Any]:
    """nDCG@10, MRR@10 and Recall@100 of a checkpoint on held-out queries, with intervals.

    Args:
        round_name: DATASET/NUMBER, DATASET (its last round), or latest.
        model: The checkpoint; empty: the round's own retriever.
        split: Queries that none was trained on.
        reread_test: Measure on test although it was read before; that is counted.
        place: Where everything is kept.
    """
    settings = validate(EvaluateSettings, {"split": split, "reread_test": reread_test}, file="form")
    with stages(place) as context:
        record = find_round(context.storage, round_name)
        rename(f"evaluate-{record.dataset}-r{record.number}-{split}")
        found = evaluate_checkpoint(context, record, model or None, settings)
        build_audit(context.storage)
    rows = [{"measure": name, **{key: round(number, 4) for key, number in values.items()}} for name, values in found.measures.items()]
    create_table_artifact(
        table=rows, key=artifact_key("measures", record.dataset), description=f"{found.model} on {found.queries:,} queries of split {split}"
    )
    return Completed(message=", ".join(f"{row['measure']} {row['mean']:.4f}" for row in rows))


@flow(name="report", flow_run_name="report-{round_name}")
def report(
    round_name: str = "latest",
    beside: list[Recipe] = [],  # noqa: B006  (the form's default)
    place: Place = _PLACE,
) -> State[Any]:
    """Write the HTML report of a round and link it.

    Args:
        round_name: DATASET/NUMBER, DATASET (its last round), or latest.
        beside: Recipes to compare with; none: plain top-K.
        place: Where everything is kept.
    """
    with stages(place) as context:
        record = find_round(context.storage, round_name)
        rename(f"report-{record.dataset}-r{record.number}")
        name = link_report(context, record, beside)
    return Completed(message=name)


def _facts(facts: dict[str, Any]) -> str:
    shown = {
        name: f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if isinstance(value, float) else value
        for name, value in facts.items()
    }
    lines = [f"| {name.replace('_', ' ')} | {value} |" for name, value in shown.items() if isinstance(value, str)]
    return "\n".join(["| fact | value |", "|---|---|", *lines])
