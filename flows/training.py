"""Train the next checkpoint on a round's selection, and evaluate checkpoints on queries that none was trained on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from flows.checks import check_new_folder, check_test_unread
from flows.lineage import earlier_selections
from flows.looking_back import card_text
from flows.results import CostRecorder
from flows.selection import shard_settings
from flows.settings import MineSettings
from flows.stored import stored_settings, stored_stage, stored_table
from flows.trained_on import check_unseen, encoders, lists_behind
from tasks.audit.checkpoints import EvaluationRecord, TrainingRecord, publish_evaluation, publish_training, split_readers
from tasks.audit.records import RoundRecord, SelectionRecord, StageRef
from tasks.embed.task import embed_documents, embed_queries
from tasks.errors import UsageError
from tasks.evaluate.judgements import keep_judgements
from tasks.evaluate.settings import EvaluateSettings
from tasks.evaluate.task import evaluate
from tasks.finetune.card import uses
from tasks.finetune.stage import Behind, Mined
from tasks.finetune.task import train_retriever
from tasks.models.fingerprint import part_digest, query_spec
from tasks.models.losses.registry import LOSSES
from tasks.models.materialise import materialise
from tasks.models.stored import as_reference, location, reference
from tasks.models.train_settings import TrainSettings
from tasks.runner.runner import Context
from tasks.select.recipe import Recipe
from tasks.store.manifest import StageManifest
from tasks.store.storage import Storage
from tasks.store.tables import read_table


class Trained(BaseModel):
    """A checkpoint, and what its training says. ``model``: where it lies: the folder that was asked for, or its place in the root."""

    model_config = ConfigDict(frozen=True)
    round: str
    recipe: str
    model: str
    facts: dict[str, Any]
    cached: bool = False  # it had been trained before


class Evaluated(BaseModel):
    """Measures of a checkpoint on one split, each with its interval over queries.

    ``read``: how often this split was read so far: models that were measured on it, this one among them, and rounds whose recipes were
    compared by its truth. ``training_known``: whether the root has the
    trainings behind the model; of another model nobody knows here whether it was trained on these queries.
    """

    model_config = ConfigDict(frozen=True)
    round: str
    model: str
    split: str
    queries: int
    measures: dict[str, dict[str, float]]
    read: int
    training_known: bool
    slices: tuple[dict[str, Any], ...] = ()  # means by slice of the queries


def train(
    context: Context,
    record: RoundRecord,
    selection: SelectionRecord,
    settings: TrainSettings,
    target: Path | None = None,
    earlier: Sequence[tuple[RoundRecord, SelectionRecord]] | None = None,
) -> Trained:
    """Fine-tune the round's retriever on a selection's training rows. A run that was stopped goes on from its last checkpoint.

    The training is recorded; the audit shows it once it is built anew.

    Args:
        context: storage, executor, progress.
        record: the round.
        selection: whose rows to train on.
        settings: of the training.
        target: a new or empty folder for the checkpoint; none: it stays under the root only.
        earlier: selections of earlier rounds, for ``settings.earlier``; none: the recipe's own, of the rounds behind the retriever.

    Raises:
        UsageError: the folder is not empty; or documents have an encoder of their own, and the loss would train another one for them.
        InputError: no row belongs to a query that may be trained on.
    """
    check_new_folder(target)
    storage, costs = context.storage, CostRecorder(context.progress)
    context = Context(storage, context.executor, costs)
    table, mining = stored_table(storage, record), stored_settings(record)
    _check_encoder(mining, settings)
    recipe = Recipe.model_validate(selection.recipe_settings)
    base = query_spec(mining.model, storage).weights
    if earlier is None:
        earlier = earlier_selections(storage, record, mining, selection.recipe) if settings.earlier else ()
    manifest = train_retriever(
        context,
        _mined(storage, record, selection),
        table.queries,
        mining.model,
        settings,
        shard_settings(mining, recipe).suspect_reasons,
        recipe.stages,
        [_mined(storage, *each) for each in earlier],
        table.document_vectors,
        Behind(lists_behind(storage, record.dataset, base), uses(card_text(storage, mining.model.path))),
    )
    (part,) = manifest.parts
    if target is not None:
        shutil.copytree(materialise(storage, part), target, dirs_exist_ok=True)
    keep_training(storage, record, selection.recipe, selection.selection_id, base, manifest)
    return Trained(
        round=f"{record.dataset}/{record.number}",
        recipe=selection.recipe,
        model=str(target or location(storage, reference(part))),
        facts=dict(part.meta),
        cached=costs.costs[-1].cached,
    )


def keep_training(storage: Storage, record: RoundRecord, recipe: str, selection_id: str, base: str, manifest: StageManifest) -> None:
    """Record a training with the round whose rows it read.

    Args:
        storage: the root.
        record: the round.
        recipe: whose rows they were.
        selection_id: of the selection.
        base: the weights that it began with.
        manifest: of the training; its only part has the model.
    """
    (part,) = manifest.parts
    trained = TrainingRecord(
        dataset=record.dataset,
        round=record.number,
        recipe=recipe,
        selection_id=selection_id,
        train=StageRef(stage=manifest.stage, key=manifest.key),
        base=base,
        model=part_digest(part),
        path=reference(part),
        facts={name: value for name, value in part.meta.items() if name != "losses"},
    )
    publish_training(storage, trained)


def evaluate_checkpoint(
    context: Context, record: RoundRecord, model: str | None, settings: EvaluateSettings, truth: pa.Table | None = None
) -> Evaluated:
    """Embed the round's documents and queries with a checkpoint, and measure its ranking.

    What was measured is recorded; the audit shows it once it is built anew.

    Args:
        context: storage, executor, progress.
        record: the round, for its dataset and its retriever's settings.
        model: the checkpoint: a folder, or its place in the root; none: the round's own retriever. Where there is a document_model, it
            embeds queries only.
        settings: which split, which measures.
        truth: query_id, doc_id, relevance in the place of the dataset's own labels.

    Raises:
        UsageError: the split is test, another model was measured on it before or recipes were compared by its truth, and
            ``settings.reread_test`` is not set; or the checkpoint was trained on queries of the split, whatever split they were of then.
        InputError: the split has no query with a positive.
    """
    storage = context.storage
    mining, table = stored_settings(record), stored_table(storage, record)
    chosen = mining.model.model_copy(update={"path": as_reference(storage, model), "revision": None}) if model else mining.model
    weights = query_spec(chosen, storage).weights
    models = encoders(mining.model_copy(update={"model": chosen}), storage)
    training_known = check_unseen(storage, record.dataset, table.queries, settings.split, models)
    check_test_unread(storage, record.dataset, settings, weights)
    documents = embed_documents(context, mining.document_model or chosen, record.dataset, table.documents)
    queries = embed_queries(context, chosen, record.dataset, table.queries)
    kept = keep_judgements(storage, truth) if truth is not None else None
    manifest = evaluate(
        context,
        table.queries,
        table.documents,
        queries.parts,
        documents.parts,
        settings,
        mining.dataset.positive_min_grade,
        kept,
        table.scored,
        record.dataset,
    )
    meta: Mapping[str, Any] = manifest.parts[0].meta
    evaluated = EvaluationRecord(
        dataset=record.dataset,
        round=record.number,
        model=weights,
        path=chosen.path,
        split=settings.split,
        qrels=kept.checksum if kept else "",
        evaluate=StageRef(stage=manifest.stage, key=manifest.key),
        queries=int(meta["queries"]),
        measures=meta["measures"],
    )
    publish_evaluation(storage, evaluated)
    return Evaluated(
        round=f"{record.dataset}/{record.number}",
        model=location(storage, chosen.path),
        split=settings.split,
        queries=evaluated.queries,
        measures=evaluated.measures,
        read=len(split_readers(storage, record.dataset, settings.split)),
        training_known=training_known,
        slices=tuple(read_table(storage, manifest.parts[0].file("slices.parquet")).to_pylist()),
    )


def _mined(storage: Storage, record: RoundRecord, selection: SelectionRecord) -> Mined:
    table = stored_table(storage, record)
    return Mined(
        name=f"{record.dataset}/{record.number}",
        recipe=selection.recipe,
        selection_id=selection.selection_id,
        select=stored_stage(storage, selection.select).parts,
        scored=table.scored,
        documents=table.documents,
    )


def _check_encoder(mining: MineSettings, settings: TrainSettings) -> None:
    if mining.document_model is None or "vectors" in LOSSES[settings.loss.kind].materials:
        return
    fits = ", ".join(name for name, entry in LOSSES.items() if "vectors" in entry.materials)
    raise UsageError(
        f"loss {settings.loss.kind} trains one encoder for both sides, and this round's documents have their own (document_model)",
        f"train the query side only, with a loss over the frozen index ({fits}), or mine without document_model",
    )
