"""The work of the train-retriever stage: gather the samples, train, write the model with its card."""

from __future__ import annotations

import fcntl
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import StorageError
from tasks.finetune.card import card
from tasks.finetune.material import frozen_index, gather
from tasks.finetune.mixture import MIXTURE, gather_mixture
from tasks.finetune.stage import QUERIES_FILE, STAGE
from tasks.models.devices import run_on
from tasks.models.finetuning import finetune
from tasks.models.fingerprint import ModelSpec
from tasks.models.materialise import spec_here
from tasks.models.samples import Samples
from tasks.models.train_settings import TrainSettings
from tasks.runner.stage import Work
from tasks.store.output import Output
from tasks.store.storage import Storage


def run(work: Work, out: Output) -> None:
    """Write ``model/…`` and ``queries.parquet``, those that were trained on.

    Meta: steps, seconds, resumed_from, losses, and what :func:`tasks.finetune.material.gather` says.
    """
    job = work.job
    settings = TrainSettings.model_validate(job.options["training"])
    samples, facts = gather_mixture(work, settings) if MIXTURE in job.inputs else gather(work, settings)
    spec = spec_here(work.storage, ModelSpec.model_validate(job.options["spec"]))
    spec = spec.model_copy(update={"prompt": str(job.settings["document_prompt"])})
    began = time.monotonic()
    folder = work.storage.scratch() / uuid.uuid4().hex
    with _checkpoints(work.storage, job.key(STAGE)) as checkpoints:
        try:
            given: dict[str, Any] = {
                "spec": spec,
                "query_prompt": str(job.settings["query_prompt"]),
                "settings": settings,
                "samples": samples,
            }
            given |= {"folder": folder, "checkpoints": checkpoints, "frozen": frozen_index(work)}
            done = run_on(settings.devices, given, work.report) if settings.devices > 1 else finetune(**given, report=work.report)
            facts |= {"steps": done.steps, "losses": [[step, round(loss, 6)] for step, loss in done.losses]}
            facts |= {"cache": [{name: round(value, 6) for name, value in entry.items()} for entry in done.said]} if done.said else {}
            (folder / "README.md").write_text(card(job.settings, facts), encoding="utf-8")
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                out.file(f"model/{file.relative_to(folder).as_posix()}", file)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    out.table(QUERIES_FILE, _queries(work, samples))
    lengths = (samples.lessons[:, 1] - samples.lessons[:, 0]).sum()
    out.count(model_calls=int(lengths) * (1 + samples.documents.shape[1]))
    out.meta.update(facts, seconds=round(time.monotonic() - began, 3), resumed_from=done.resumed_from)


def _queries(work: Work, samples: Samples) -> pa.Table:
    """query_id, norm_hash, group of the queries in the samples and of those behind the base: what the model may never be measured on."""
    table = work.table("queries", "queries.parquet", ["query_id", "norm_hash", "group", "input_hash"])
    trained = table.filter(pc.is_in(table["input_hash"], value_set=pa.array(samples.query_names.tolist(), pa.string())))
    names = ["query_id", "norm_hash", "group"]
    before = [work.part_table(part, QUERIES_FILE, names) for part in work.job.inputs.get("trained_before", ())]
    every = pa.concat_tables([trained.select(names), *before])
    return every.group_by(names, use_threads=False).aggregate([])


@contextmanager
def _checkpoints(storage: Storage, key: str) -> Iterator[Path]:
    """The folder of this training's checkpoints: it outlives a failure, and goes when the training is done.

    Raises:
        StorageError: another process trains the same.
    """
    folder = storage.scratch() / f"train-retriever-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    with (storage.scratch() / f"train-retriever-{key}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(f"another process trains this model already ({folder})", "wait for it, or stop it") from error
        yield folder
        shutil.rmtree(folder, ignore_errors=True)
