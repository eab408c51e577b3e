"""Train the next checkpoint on a mixture: rows of several datasets, each with its prompts, in batches of one source."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.checks import check_new_folder
from flows.looking_back import card_text
from flows.results import CostRecorder
from flows.stored import find_round, stored_settings, stored_stage, stored_table
from flows.trained_on import lists_behind
from flows.training import Trained, keep_training
from tasks.audit.records import RoundRecord, StageRef, dataset_names
from tasks.errors import UsageError
from tasks.finetune.card import uses
from tasks.finetune.mixture import described
from tasks.finetune.stage import Behind
from tasks.finetune.task import train_on_mixture
from tasks.mixture.settings import TRAINED
from tasks.models.fingerprint import query_spec
from tasks.models.materialise import materialise
from tasks.models.settings import ModelSettings
from tasks.models.stored import location, reference
from tasks.models.train_settings import TrainSettings
from tasks.runner.runner import Context
from tasks.store.manifest import Part
from tasks.store.pointers import read_pointer
from tasks.store.storage import Storage


def is_mixture(storage: Storage, name: str) -> bool:
    """Whether a name is that of a mixture under the root, and of no dataset."""
    return "/" not in name and name not in dataset_names(storage) and read_pointer(storage, f"mixtures/{name}") is not None


def train_mixture(context: Context, name: str, settings: TrainSettings, target: Path | None = None) -> Trained:
    """Fine-tune the retriever that a mixture's datasets were mined with on the mixture's rows.

    The training is recorded with each of the datasets, so that the checkpoint is measured on none of the queries it was trained on.

    Args:
        context: storage, executor, progress.
        name: of the mixture.
        settings: of the training.
        target: a new or empty folder for the checkpoint; none: it stays under the root only.

    Raises:
        UsageError: the folder is not empty, the mixture has no format to train on, its rounds had another retriever or an encoder of
            documents, or the settings ask for what a mixture does not have.
        InputError: no row belongs to a query that may be trained on.
    """
    check_new_folder(target)
    storage, costs = context.storage, CostRecorder(context.progress)
    context = Context(storage, context.executor, costs)
    part = _files(storage, name)
    told: list[dict[str, Any]] = described(storage, part)["datasets"]
    records = [find_round(storage, str(one["round"])) for one in told]
    model = _retriever(storage, records)
    base = query_spec(model, storage).weights
    queries = [each for record in records for each in stored_table(storage, record).queries]
    lists = {each.key: each for record in records for each in lists_behind(storage, record.dataset, base)}
    behind = Behind([lists[key] for key in sorted(lists)], uses(card_text(storage, model.path)))
    manifest = train_on_mixture(context, part, queries, model, settings, behind)
    (made,) = manifest.parts
    if target is not None:
        shutil.copytree(materialise(storage, made), target, dirs_exist_ok=True)
    for one, record in zip(told, records, strict=True):
        keep_training(storage, record, str(one["recipe"]), str(one["selection_id"]), base, manifest)
    return Trained(
        round=f"mixture {name}",
        recipe=", ".join(dict.fromkeys(str(one["recipe"]) for one in told)),
        model=str(target or location(storage, reference(made))),
        facts=dict(made.meta),
        cached=costs.costs[-1].cached,
    )


def _files(storage: Storage, name: str) -> Part:
    """The newest files of a mixture that can be trained on."""
    formats = (read_pointer(storage, f"mixtures/{name}") or {"formats": {}})["formats"]
    wanted = next((each for each in TRAINED if each in formats), None)
    if wanted is None:
        raise UsageError(
            f"mixture {name} was written as {', '.join(sorted(formats)) or 'nothing'}, and is trained on as {' or '.join(TRAINED)}",
            "add n-tuple to formats in run.yaml and run `hardmine mine` again: no model runs",
        )
    (part,) = stored_stage(storage, StageRef(stage=formats[wanted]["stage"], key=formats[wanted]["key"])).parts
    return part


def _retriever(storage: Storage, records: Sequence[RoundRecord]) -> ModelSettings:
    """The model that all the rounds were mined with; prompts are the datasets' own."""
    settings = [stored_settings(record) for record in records]
    if any(one.document_model is not None for one in settings):
        raise UsageError(
            "the datasets' documents have an encoder of their own (document_model), and a mixture trains one encoder for both sides",
            "mine without document_model, or train each dataset's round with a loss over the frozen index",
        )
    weights = {query_spec(one.model, storage).weights: record for one, record in zip(settings, records, strict=True)}
    if len(weights) > 1:
        names = " and ".join(f"{record.dataset}/{record.number}" for record in weights.values())
        raise UsageError(f"{names} were mined with different retrievers", "mine all datasets in one run again, then train")
    return settings[0].model
