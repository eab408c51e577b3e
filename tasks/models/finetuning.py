"""Training a retriever with sentence-transformers' trainer: resumed where it was killed, the same result either way.

All batches are planned beforehand, so that passes over several training stages are one run of the trainer with a known
number of steps. Dropout is off; on a CPU the work is cut into a fixed number of pieces (:mod:`tasks.models.pieces`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler
from transformers import PrinterCallback

from tasks.errors import ModelError
from tasks.models.correcting import corrections
from tasks.models.devices import ALONE, Device, dealt
from tasks.models.fingerprint import ModelSpec, folder_digest
from tasks.models.hardware import training_attention
from tasks.models.location import locate
from tasks.models.losses.registry import LOSSES, build
from tasks.models.losses.tables import PairScores, Rows
from tasks.models.pieces import Pieces, threads, without_dropout
from tasks.models.runtime import Report
from tasks.models.samples import Frozen, Ints, Samples, shuffled
from tasks.models.tokenizers import forget_last_batch
from tasks.models.train_settings import TrainSettings
from tasks.models.trainer import Planned, Trainer, Watch, arguments_of, dataset_of, last_checkpoint
from tasks.models.training import deterministic
from tasks.runner.cores import worker_cores

_SAID = ("cache_staleness", "cache_cross_entropy", "cache_filled")  # by the loss, in the trainer's log


@dataclass(frozen=True)
class Outcome:
    """What training did.

    Args:
        steps: of the optimiser, those before a resumption too.
        losses: (last step, mean loss) of consecutive stretches.
        resumed_from: the step that this run went on from; 0: the start.
        said: what the loss said of the same stretches besides: last step and figures by name; empty for most losses.
    """

    steps: int
    losses: list[tuple[int, float]]
    resumed_from: int
    said: list[dict[str, float]]


def finetune(
    spec: ModelSpec,
    query_prompt: str,
    settings: TrainSettings,
    samples: Samples,
    folder: Path,
    checkpoints: Path,
    report: Report,
    frozen: Frozen | None = None,
    device: Device = ALONE,
) -> Outcome:
    """Train a retriever, going on from the last complete checkpoint if there is one.

    Args:
        spec: the base model as it embeds documents; its dtype bfloat16 means autocast.
        query_prompt: put before each query; documents get the spec's.
        settings: loss, epochs, rates, seed.
        samples: what to train on.
        folder: where the model is written (safetensors and tokenizer, without a model card).
        checkpoints: a folder of this training's own; it is left as it is at the end.
        report: told 1 at each step, and at once of those done before.
        frozen: the index for losses that search one.
        device: which of several that train together; the first one reports and writes. By default the only one.

    Raises:
        ModelError: the base cannot be loaded, or the loss is not finite.
        UsageError: the loss needs something that the samples do not have.
    """
    with _quiet(), _own_generators(), deterministic(settings.seed), _threads(spec, device) as pool:
        model = _load(spec, settings.max_length, device)
        own_length = model.max_seq_length
        model.max_seq_length = min(settings.max_length, own_length or settings.max_length)
        without_dropout(model)
        rows = _rows(samples, frozen)
        loss = build(model, settings.built_loss, rows, **_materials(samples, frozen))
        if pool is not None:
            _replace_model(loss, model, Pieces(model, pool))
        batches = dealt(plan(samples, settings), device.count)
        watch = Watch(report, spec.path, loss)
        trainer = Trainer(
            model=model,
            args=arguments_of(settings, spec, query_prompt, samples, len(batches) // device.count, checkpoints),
            train_dataset=dataset_of(samples),
            loss=loss,
            callbacks=[watch, *corrections(loss, model, samples, (query_prompt, spec.prompt), _starts(samples, batches), settings.seed)],
        )
        trainer.args.batch_sampler = lambda dataset, **options: Planned(dataset, batches, **options)
        trainer.remove_callback(PrinterCallback)
        last = last_checkpoint(checkpoints)
        trainer.train(resume_from_checkpoint=str(last) if last else None)
        model.max_seq_length = own_length
        if device.is_first:
            forget_last_batch(model.tokenizer)
            model.save_pretrained(str(folder), create_model_card=False)
        losses = [(int(entry["step"]), float(entry["loss"])) for entry in trainer.state.log_history if "loss" in entry]
        return Outcome(trainer.state.global_step, losses, watch.resumed_from, _said(trainer.state.log_history))


def _said(history: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """Entries of the trainer's log that the loss added to."""
    told = [{name: entry[name] for name in ("step", *_SAID) if name in entry} for entry in history]
    return [entry for entry in told if len(entry) > 1]


def plan(samples: Samples, settings: TrainSettings) -> list[Ints]:
    """Rows of each step.

    Losses that mask known and suspected positives take any rows together. sentence-transformers' own in-batch loss has no
    mask: there no text appears twice in a batch (its sampler NO_DUPLICATES). Batches that are settled stay as they are.
    """
    if samples.batches is not None:
        return list(samples.batches)
    if LOSSES[settings.loss.kind].uses_rows:
        return shuffled(samples.lessons, settings.batch_size, settings.seed)
    documents = samples.row_documents
    batches: list[Ints] = []
    for number, (first, end) in enumerate(samples.lessons.tolist()):
        columns = {"query": ["q" + name for name in samples.query_names[samples.queries[first:end]]]}
        columns |= {f"document_{slot}": documents[first:end, slot].tolist() for slot in range(documents.shape[1])}
        sampler = NoDuplicatesBatchSampler(
            Dataset.from_dict(columns), settings.batch_size, drop_last=False, generator=torch.Generator(), seed=settings.seed
        )
        sampler.set_epoch(number)
        batches += [first + np.asarray(batch, dtype=np.int64) for batch in sampler]
    return batches


def _threads(spec: ModelSpec, device: Device) -> AbstractContextManager[ThreadPoolExecutor | None]:
    """The pool for pieces of a step; none on a GPU, and beside other processes, whose gradients torch adds up by itself."""
    return threads(spec.device, worker_cores()) if device.count == 1 else nullcontext()


def _load(spec: ModelSpec, max_length: int, device: Device) -> SentenceTransformer:
    folder = locate(spec.path, spec.revision)
    if folder_digest(folder) != spec.weights:
        raise ModelError(f"model {spec.path}: its files changed after the run began", "run again: it is another model now")
    try:
        return SentenceTransformer(
            str(folder),
            device=device.named(spec.device),
            trust_remote_code=spec.trust_remote_code,
            local_files_only=True,
            model_kwargs={"dtype": torch.float32, "use_safetensors": True, **training_attention(spec.device, max_length)},
        )
    except Exception as error:
        raise ModelError(
            f"model {spec.path} cannot be loaded: {type(error).__name__}: {error}", "check the folder with sentence-transformers"
        ) from error


def _rows(samples: Samples, frozen: Frozen | None) -> Rows:
    return Rows.from_ids(
        samples.query_names[samples.queries],
        samples.row_documents,
        positives=samples.positives,
        suspected=samples.suspected,
        values=samples.values,
        documents=None if frozen is None else frozen.names,
    )


def _materials(samples: Samples, frozen: Frozen | None) -> dict[str, Any]:
    """What single losses need besides the rows."""
    made: dict[str, Any] = {}
    if frozen is not None:
        made["vectors"] = torch.from_numpy(np.ascontiguousarray(frozen.vectors))
    if samples.scores is not None:
        import pandas as pd

        (queries, documents), scores = samples.scores
        known = samples.row_documents
        index = pd.Index(pd.unique(known[pd.notna(known)]))  # the codes that Rows.from_ids gives
        left = pd.Index(pd.unique(samples.query_names[samples.queries])).get_indexer(pd.Index(queries)).astype(np.int64)
        right = index.get_indexer(pd.Index(documents)).astype(np.int64)
        keep = (left >= 0) & (right >= 0)
        made["in_batch_teacher"] = PairScores(left[keep], right[keep], scores[keep], len(index))
    return made


def _replace_model(loss: torch.nn.Module, model: SentenceTransformer, pieces: Pieces) -> None:
    for module in list(loss.modules()):
        if getattr(module, "model", None) is model:
            module.model = pieces


def _starts(samples: Samples, batches: Sequence[Ints]) -> set[int]:
    """Steps before which a new pass begins."""
    starts = {0}
    left = (samples.lessons[:, 1] - samples.lessons[:, 0]).tolist()
    for step, batch in enumerate(batches, start=1):
        left[0] -= len(batch)
        if left[0] <= 0 and len(left) > 1:
            left.pop(0)
            starts.add(step)
    return starts


@contextmanager
def _own_generators() -> Iterator[None]:
    """The trainer seeds Python's and numpy's generators: put them back."""
    state, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(arrays)  # noqa: NPY002


@contextmanager
def _quiet() -> Iterator[None]:
    """Errors only from transformers."""
    verbosity = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
