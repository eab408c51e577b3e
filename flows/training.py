"""Train the next checkpoint on a round's selection, and evaluate checkpoints on queries that none was trained on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from flows.mine import shard_settings
from flows.stored import stored_settings, stored_stage, stored_table
from tasks.audit.records import RoundRecord, SelectionRecord
from tasks.embed.task import embed_documents, embed_queries
from tasks.errors import UsageError
from tasks.evaluate.settings import EvaluateSettings
from tasks.evaluate.task import evaluate
from tasks.finetune.stage import Mined
from tasks.finetune.task import train_retriever
from tasks.models.materialise import materialise
from tasks.models.train_settings import TrainSettings
from tasks.runner.runner import Context
from tasks.select.recipe import Recipe


class Trained(BaseModel):
    """A checkpoint, and what its training says."""

    model_config = ConfigDict(frozen=True)
    round: str
    recipe: str
    model: str
    facts: dict[str, Any]


class Evaluated(BaseModel):
    """Measures of a checkpoint on one split, each with its interval over queries."""

    model_config = ConfigDict(frozen=True)
    round: str
    model: str
    split: str
    queries: int
    measures: dict[str, dict[str, float]]


def train(context: Context, record: RoundRecord, selection: SelectionRecord, settings: TrainSettings, target: Path | None) -> Trained:
    """Fine-tune the round's retriever on a selection's training rows. A run that was stopped goes on from its last checkpoint.

    Args:
        context: storage, executor, progress.
        record: the round.
        selection: whose rows to train on.
        settings: of the training.
        target: a new or empty folder for the checkpoint; none: it stays under the root only.

    Raises:
        UsageError: the folder is not empty.
        InputError: no row belongs to a query that may be trained on.
    """
    if target is not None and target.exists() and any(target.iterdir()):
        raise UsageError(f"{target}: the folder is not empty", "give a new folder with --out")
    table, mining = stored_table(context.storage, record), stored_settings(record)
    recipe = Recipe.model_validate(selection.recipe_settings)
    mined = Mined(
        name=f"{record.dataset}/{record.number}",
        recipe=selection.recipe,
        selection_id=selection.selection_id,
        select=stored_stage(context.storage, selection.select).parts,
        scored=table.scored,
        documents=table.documents,
    )
    reasons = shard_settings(mining, recipe).suspect_reasons
    manifest = train_retriever(
        context, mined, table.queries, mining.model, settings, reasons, recipe.stages, document_vectors=table.document_vectors
    )
    (part,) = manifest.parts
    folder = materialise(context.storage, part)
    if target is not None:
        shutil.copytree(folder, target, dirs_exist_ok=True)
    return Trained(round=mined.name, recipe=selection.recipe, model=str(target or folder), facts=dict(part.meta))


def evaluate_checkpoint(context: Context, record: RoundRecord, model: str | None, settings: EvaluateSettings) -> Evaluated:
    """Embed the round's documents and queries with a checkpoint, and measure its ranking.

    Args:
        context: storage, executor, progress.
        record: the round, for its dataset and its retriever's settings.
        model: the checkpoint's folder; none: the round's own retriever.
        settings: which split, which measures.

    Raises:
        UsageError: the split is the one that is trained on.
        InputError: the split has no query with a positive.
    """
    mining, table = stored_settings(record), stored_table(context.storage, record)
    chosen = mining.model.model_copy(update={"path": model}) if model else mining.model
    documents = embed_documents(context, chosen, record.dataset, table.documents)
    queries = embed_queries(context, chosen, record.dataset, table.queries)
    manifest = evaluate(
        context, table.queries, table.documents, queries.parts, documents.parts, settings, mining.dataset.positive_min_grade
    )
    meta: Mapping[str, Any] = manifest.parts[0].meta
    return Evaluated(
        round=f"{record.dataset}/{record.number}",
        model=chosen.path,
        split=settings.split,
        queries=int(meta["queries"]),
        measures=meta["measures"],
    )
