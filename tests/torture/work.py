"""What is killed: a round with a teacher, its review, a training on it, and a second round; small, with real models of random weights."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

from flows.cache_only import Quiet
from flows.mine import mine_round
from flows.review import import_labels
from flows.review_sample import export_sample
from flows.settings import MineSettings
from flows.stored import find_round, stored_stage
from flows.training import train
from tasks.models.fingerprint import folder_digest
from tasks.models.location import packaged
from tasks.models.materialise import materialise
from tasks.models.stored import as_reference, stored_part
from tasks.models.train_settings import TrainSettings
from tasks.review.settings import ExportSettings
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.lease import at_work
from tasks.store.storage import Storage, open_storage
from tasks.truth.settings import SamplingSettings

SIZES = {"vocab_size": 30_522, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


def make_models(folder: Path) -> None:
    """A retriever and a teacher with seeded weights."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertModel

    torch.manual_seed(0)
    retriever, teacher = folder / "retriever", folder / "teacher"
    for file in packaged().rglob("*.*"):
        target = retriever / file.relative_to(packaged())
        if file.is_file() and file.suffix in (".json", ".txt"):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    pooling = next(retriever.glob("1_Pooling/config.json"))
    pooling.write_text(pooling.read_text().replace("384", "32"))
    BertModel(BertConfig(**SIZES, initializer_range=0.2)).save_pretrained(retriever)
    BertForSequenceClassification(BertConfig(**SIZES, num_labels=1, initializer_range=0.5)).save_pretrained(teacher)
    AutoTokenizer.from_pretrained(packaged()).save_pretrained(teacher)


def settings(folder: Path, root: str, **changes: Any) -> MineSettings:
    """Of the round. ``folder`` has ``beir/``, ``retriever/`` and ``teacher/``."""
    model = {"max_length": 24, "dtype": "float32", "device": "cpu"}
    dataset = {"name": "small", "format": "beir", "path": str(folder / "beir"), "document_partitions": 2, "query_partitions": 2}
    return MineSettings.model_validate(
        {
            "root": root,
            "dataset": {**dataset, "near_duplicates": None, "reviews": False},
            "model": {"path": str(folder / "retriever"), **model},
            "teacher": {"path": str(folder / "teacher"), "depth": 10, "pairs_per_partition": 200, **model},
            "retrieve": {"dense": {"top_k": 20}, "bm25": {"top_k": 10}},
            "recipe": "hardmine",
            "truncate": True,
            "num_negatives": 2,
            "formats": ["triplet"],
            "seed": 1,
            **changes,
        }
    )


def work(folder: Path, root: str, scratch: Path) -> dict[str, str]:
    """All of it; what is done is found again.

    Args:
        folder: collection and models.
        root: where it works.
        scratch: a folder for the review's file, new each time.

    Returns:
        Checksums of what a user takes away: training files of both rounds, the trained model, the review's labels.
    """
    storage = open_storage(root)
    context = Context(storage, lambda: InlineExecutor(1), Quiet())
    with at_work(storage, "work"):
        first = mine_round(settings(folder, root), context)
        record = find_round(storage, f"small/{first.number}")
        labels = _review(context, record, scratch)
        trained = train(
            context, record, record.selection(), TrainSettings(epochs=1, batch_size=16, max_length=24, save_every=2, dtype="float32")
        )
        second = mine_round(settings(folder, root, model={**settings(folder, root).model.model_dump(), "path": trained.model}), context)
        found = {"labels": labels, "model": folder_digest(_folder(storage, trained.model))}
        for number in (first.number, second.number):
            chosen = find_round(storage, f"small/{number}").selection()
            found[f"shards of round {number}"] = stored_stage(storage, chosen.shards["triplet"]).checksum
    return found


def _folder(storage: Storage, model: str) -> Path:
    """A trained model as a local folder, of whatever root."""
    return materialise(storage, stored_part(storage, as_reference(storage, model)))


def _review(context: Context, record: Any, scratch: Path) -> str:
    """Draw a sample, label every other pair relevant, import it."""
    scratch.mkdir(parents=True)
    file = scratch / "review.csv"
    export_sample(context, record, [], file, SamplingSettings(budget=20), ExportSettings(bom=False), 0)
    rows = list(csv.DictReader(file.open(newline="")))
    with file.open("w", newline="") as target:
        writer = csv.DictWriter(target, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "label": "relevant" if number % 2 else "not"} for number, row in enumerate(rows))
    imported = import_labels(context, [file])
    return imported.record.review_id
