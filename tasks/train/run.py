"""The work of the train-teacher stage: fetch the pairs' texts, train, write the model and what it learnt."""

from __future__ import annotations

import shutil
import uuid

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.folds import Fold
from tasks.models.fingerprint import ModelSpec
from tasks.models.materialise import spec_here
from tasks.models.settings import TeacherTraining
from tasks.models.training import Logits, train_cross_encoder
from tasks.runner.stage import Work
from tasks.store.output import Output
from tasks.store.tables import take_texts
from tasks.templates import document_inputs
from tasks.train.metrics import auc, log_loss
from tasks.train.teacher import choose


def run(work: Work, out: Output) -> None:
    """Write ``model/…``; AUC and loss on held-out query groups before and after go into meta."""
    job = work.job
    training = TeacherTraining.model_validate(job.options["training"])
    fold = Fold(*job.settings["fold"]) if job.settings["fold"] else None
    table, chosen = choose(work.storage, job.inputs["candidates"], job.inputs["queries"], training, list(job.settings["sources"]), fold)
    pairs = _texts(
        work,
        table.take(pa.array(chosen.rows)),
        table.take(pa.array(chosen.docs)),
        str(job.settings["prompt"]),
        str(job.settings["title_template"]),
    )
    held = chosen.holdout
    folder = work.storage.scratch() / uuid.uuid4().hex
    try:
        before, after = train_cross_encoder(
            spec_here(work.storage, ModelSpec.model_validate(job.options["spec"])),
            training,
            [pairs[row] for row in np.flatnonzero(~held).tolist()],
            chosen.labels[~held],
            [pairs[row] for row in np.flatnonzero(held).tolist()],
            folder,
            work.report,
        )
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            out.file(f"model/{file.relative_to(folder).as_posix()}", file)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    out.count(model_calls=chosen.trained * training.epochs)
    out.meta.update(pairs=chosen.trained, positives=int(chosen.labels[~held].sum()), holdout_pairs=int(held.sum()))
    out.meta.update(_metrics(before, after, chosen.labels[held]))


def _metrics(before: Logits, after: Logits, labels: NDArray[np.float32]) -> dict[str, float | None]:
    figures = {
        "auc_before": auc(before, labels),
        "auc_after": auc(after, labels),
        "loss_before": log_loss(before, labels),
        "loss_after": log_loss(after, labels),
    }
    return {name: None if value is None else round(value, 6) for name, value in figures.items()}


def _texts(work: Work, table: pa.Table, documents: pa.Table, prompt: str, template: str) -> list[tuple[str, str]]:
    """(query, document) inputs: queries of the rows of ``table``, documents of those of ``documents``."""
    addresses = [np.asarray(documents[name].to_numpy(), dtype=np.int64) for name in ("doc_partition", "doc_row")]
    texts = take_texts(work.storage, work.job.inputs["documents"], addresses[0], addresses[1], ["title", "text"])
    part = np.asarray(table["part"].to_numpy())
    query_row = np.asarray(table["query_row"].to_numpy(), dtype=np.int64)
    queries = np.empty(table.num_rows, dtype=object)
    for number in np.unique(part).tolist():
        here = part == number
        column = work.part_table(work.job.inputs["queries"][number], "queries.parquet", ["text"])["text"]
        queries[here] = column.take(pa.array(query_row[here])).to_pylist()
    return list(zip([prompt + query for query in queries.tolist()], document_inputs(template, texts), strict=True))
