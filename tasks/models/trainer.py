"""The parts that sentence-transformers' trainer is given: batches, data, arguments, and who is told of its steps."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.sampler import DefaultBatchSampler
from transformers import TrainerCallback

from tasks.errors import ModelError
from tasks.models.fingerprint import ModelSpec
from tasks.models.runtime import Report
from tasks.models.samples import Ints, Samples
from tasks.models.train_settings import TrainSettings

COMPLETE = "complete"
_LOSS = "loss.pt"
_POINTS = 200  # of the loss curve
_KEPT = 2


class Planned(DefaultBatchSampler):  # type: ignore[misc]
    """The planned batches, in order."""

    def __init__(self, dataset: Dataset, batches: Sequence[Ints], **options: Any) -> None:
        super().__init__(dataset, **options)
        self._batches = batches
        self.batch_size = None  # accelerate takes each batch as it is, short ones too, where it deals them out to devices

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self._batches:
            yield batch.tolist()

    def __len__(self) -> int:
        return len(self._batches)


class Trainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """The trainer without model cards: they look things up on the hub, and ours says what matters. Its log has what the loss says."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """With what the loss says of the steps since the last entry, where it says something."""
        said = getattr(self.loss, "said", None)
        super().log({**logs, **(said() if said is not None and "loss" in logs else {})}, start_time)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """None."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        self.model.save_pretrained(output_dir or self.args.output_dir, create_model_card=False)


class Watch(TrainerCallback):  # type: ignore[misc]
    """Progress, what the loss itself keeps and a mark in each complete checkpoint, and a stop where the loss is lost.

    Args:
        report: told of steps.
        name: of the base model, for messages.
        loss: with ``state()`` and ``restore(state)`` where it keeps something from step to step.
    """

    def __init__(self, report: Report, name: str, loss: torch.nn.Module) -> None:
        self._report = report
        self._name = name
        self._loss: Any = loss if hasattr(loss, "restore") else None
        self.resumed_from = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Steps done before, and what the loss had kept then."""
        self.resumed_from = state.global_step
        if state.global_step and self._loss is not None:
            self._loss.restore(torch.load(_folder(args, state) / _LOSS, map_location=args.device, weights_only=True))
        self._report(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One more."""
        self._report(1)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """Refuse a loss that is not finite."""
        if not math.isfinite(logs.get("loss", 0.0)):
            raise ModelError(f"training from {self._name}: the loss is not finite", "lower learning_rate or set dtype: float32")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The checkpoint is whole; the first of several processes wrote it."""
        if not state.is_world_process_zero:
            return
        if self._loss is not None:
            torch.save(self._loss.state(), _folder(args, state) / _LOSS)
        (_folder(args, state) / COMPLETE).touch()


def _folder(args: Any, state: Any) -> Path:
    """Of the checkpoint of the present step."""
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; half-written ones are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    for path in found:
        if not (path / COMPLETE).exists():
            shutil.rmtree(path, ignore_errors=True)
    complete = [path for path in found if (path / COMPLETE).exists()]
    return complete[-1] if complete else None


def dataset_of(samples: Samples) -> Dataset:
    """Rows by number; their texts are looked up as they are needed."""

    def texts(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        numbers = batch["label"]
        made: dict[str, list[Any]] = {"anchor": [samples.query_texts[place] for place in samples.queries[numbers].tolist()]}
        for name, places in zip(columns_of(samples)[1:], samples.documents[numbers].T.tolist(), strict=True):
            made[name] = [samples.document_texts[place] if place >= 0 else "" for place in places]
        return {**made, "label": list(numbers)}

    dataset = Dataset.from_dict({"label": np.arange(len(samples))})
    dataset.set_transform(texts)
    return dataset


def columns_of(samples: Samples) -> list[str]:
    """Text columns, in the order that the losses take them."""
    return ["anchor", "positive", *(f"negative_{slot}" for slot in range(1, samples.documents.shape[1]))]


def arguments_of(
    settings: TrainSettings, spec: ModelSpec, query_prompt: str, samples: Samples, steps: int, checkpoints: Path
) -> SentenceTransformerTrainingArguments:
    """The trainer's arguments for a run of ``steps`` steps; nothing is reported to anybody."""
    every = max(1, steps // _POINTS)
    prompts = {name: query_prompt if name == "anchor" else spec.prompt for name in columns_of(samples)}
    checkpointing: dict[str, Any] = {}
    if settings.gradient_checkpointing:
        checkpointing = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=1,
        per_device_train_batch_size=settings.batch_size // settings.devices,
        learning_rate=settings.learning_rate,
        warmup_steps=math.ceil(settings.warmup * steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=1.0,
        bf16=spec.dtype == "bfloat16",
        use_cpu=spec.device == "cpu",
        **checkpointing,
        seed=settings.seed,
        prompts={name: prompt for name, prompt in prompts.items() if prompt} or None,
        logging_steps=every,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=-(-settings.save_every // every) * every,
        save_total_limit=_KEPT,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        push_to_hub=False,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # never torch's DataParallel, which splits batches
    return arguments
