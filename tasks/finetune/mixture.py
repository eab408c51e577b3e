"""Training on a mixture's files: rows of several datasets, in the batches that the mixture made, each dataset with its own prompts.

The texts are those of the files, n-tuples or triplets, and so are the batches: a step is one of them, whatever ``batch_size`` is. What is
masked in a batch is what the sidecars call positive or suspect.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.errors import InputError, UsageError
from tasks.finetune.splits import is_trained, refuse_others
from tasks.finetune.stage import NOTHING_BEHIND, QUERIES_FILE, Behind
from tasks.models.fingerprint import document_spec
from tasks.models.hardware import resolve_dtype
from tasks.models.losses.registry import LOSSES
from tasks.models.samples import Ints, Names, Pairs, Samples
from tasks.models.settings import ModelSettings
from tasks.models.train_settings import TrainSettings
from tasks.runner.stage import Job, Work
from tasks.store.keys import input_hash
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import local_file

MIXTURE = "mixture"

_Values = dict[str, NDArray[np.float32]]


def described(storage: Storage, part: Part) -> dict[str, Any]:
    """``batch_size`` and ``datasets`` (name, prompts, round, recipe, selection_id and more) of a mixture's files."""
    found: dict[str, Any] = json.loads(local_file(storage, part.file("mixture.json")).read_text(encoding="utf-8"))
    return found


def mixture_jobs(
    storage: Storage, part: Part, queries: Sequence[Part], model: ModelSettings, settings: TrainSettings, behind: Behind = NOTHING_BEHIND
) -> list[Job]:
    """The one job ``retriever`` over a mixture; units are steps.

    Args:
        storage: the root.
        part: of the stage ``mixture``, format n-tuple or triplet.
        queries: parts with queries.parquet of all datasets; their splits decide who takes part.
        model: the base checkpoint; its own prompts do not count.
        settings: of the training.
        behind: what the base was trained on.

    Raises:
        UsageError: the settings ask for something that a mixture does not have.
    """
    check_training(model, settings)
    spec = document_spec(model, storage)
    dtype = resolve_dtype(settings.dtype, spec.device)
    told = described(storage, part)
    inputs = {MIXTURE: (part,), "queries": tuple(each.only("queries.parquet") for each in queries)}
    if behind.lists:
        inputs["trained_before"] = tuple(each.only(QUERIES_FILE) for each in behind.lists)
    keyed = {
        "training": settings.model_dump(mode="json", exclude={"dtype", "save_every", "devices"}),
        "base": spec.weights,
        "dtype": dtype,
        "device": spec.device,
        "query_prompt": "",
        "document_prompt": "",
        "title_template": "{text}",
        "prompts": {one["name"]: one["prompts"] for one in told["datasets"]},
        "rounds": [{name: one[name] for name in ("round", "recipe", "selection_id")} for one in told["datasets"]],
        "behind": [dict(each) for each in behind.uses],
        "mixture": told["batch_size"],
    }
    options = {
        "spec": spec.model_copy(update={"dtype": dtype, "prompt": ""}).model_dump(mode="json"),
        "training": settings.model_dump(mode="json"),
    }
    rows = sum(file.rows or 0 for file in part.files if file.name.startswith("data/"))
    return [Job("retriever", inputs, keyed, options, max(1, rows // int(told["batch_size"]) * settings.epochs))]


def check_training(model: ModelSettings, settings: TrainSettings) -> None:
    """Refuse a training that a mixture's files are not enough for.

    Raises:
        UsageError: which setting.
    """
    if model.adapter is not None:
        raise UsageError(
            f"model {model.path}: a model with an adapter is not trained here",
            "merge the adapter (PEFT's merge_and_unload), save the model, and give its folder as path",
        )
    entry = LOSSES[settings.loss.kind]
    lacking = [*entry.materials, *(name for name in entry.values if name == "lexical")]
    if lacking:
        raise UsageError(f"loss {settings.loss.kind} needs {', '.join(lacking)}, which a mixture's files do not have", "take another loss")
    for name, plain in (("earlier", 0.0), ("random", 0.0), ("devices", 1)):
        if getattr(settings, name) != plain:
            raise UsageError(f"train.{name}: a mixture is trained on as it lies", f"leave {name} out, or train on one dataset's round")


@dataclass(frozen=True)
class _Rows:
    """A mixture's rows: names and texts by row and slot, the positive first; empty: there is none."""

    query_ids: Names
    queries: Names
    documents: Names  # (r, c)
    ids: Names  # (r, c)
    values: _Values
    suspects: list[tuple[str, list[str]]]  # query id, document ids
    batch: Ints


def gather_mixture(work: Work, settings: TrainSettings) -> tuple[Samples, dict[str, Any]]:
    """The samples, and facts about them, as :func:`tasks.finetune.material.gather` has them.

    Raises:
        InputError: no row is of a query that may be trained on.
    """
    queries = work.table("queries", "queries.parquet", ["query_id", "input_hash", "split"])
    rows, left_out = _trained(_read(work, settings.num_negatives), queries)
    if not len(rows.queries):
        raise InputError(
            "there is nothing to train on: no row of the mixture belongs to a query of split 'train' (or of none)",
            "check dataset.splits of its datasets; queries of other splits are never trained on",
        )
    refuse_others(pa.chunked_array([pa.array(rows.query_ids, pa.string())]), queries)
    query, query_texts = pd.factorize(rows.queries)
    there = rows.documents != ""
    number, document_texts = pd.factorize(rows.documents[there])
    documents = np.full(rows.documents.shape, -1, dtype=np.int64)
    documents[there] = number
    hashes = dict(zip(queries["query_id"].to_pylist(), queries["input_hash"].to_pylist(), strict=True))
    names: Names = np.empty(len(query_texts), dtype=object)
    names[query] = [hashes[one] for one in rows.query_ids]
    document_names = np.array([input_hash("", text) for text in document_texts], dtype=object)
    positives, suspected = _pairs(rows, names[query], document_names[documents[:, 0]], document_names, documents, hashes)
    order = np.arange(len(query))
    batches = [each for each in np.split(order, np.flatnonzero(np.diff(rows.batch)) + 1) if len(each)]
    samples = Samples(
        queries=query.astype(np.int64),
        documents=documents,
        query_texts=list(query_texts),
        document_texts=list(document_texts),
        query_names=names,
        document_names=document_names,
        lessons=np.array([[0, len(query)]] * settings.epochs, dtype=np.int64),
        positives=positives,
        suspected=suspected,
        values={name: value for name, value in rows.values.items() if np.isfinite(value).any()},
        batches=batches * settings.epochs,
    )
    return samples, {
        "left_out": left_out,
        "earlier_rows": 0,
        "earlier_dropped": 0,
        "random_negatives": 0,
        "dropped_short": 0,
        "samples": len(samples),
        "queries": len(pd.unique(rows.query_ids)),
        "documents": len(document_texts),
        "negatives": int((documents[:, 1:] >= 0).sum()),
        "known_positives": len(positives[0]),
        "suspected": len(suspected[0]),
    }


def _read(work: Work, num_negatives: int | None) -> _Rows:
    """The files, in order, with prompts before the texts."""
    (part,) = work.job.inputs[MIXTURE]
    prompts: Mapping[str, Mapping[str, str]] = work.job.settings["prompts"]
    files = sorted(file.name for file in part.files if file.name.startswith("data/"))
    data = pa.concat_tables([work.part_table(part, name) for name in files])
    side = pa.concat_tables([work.part_table(part, f"sidecar/{name.removeprefix('data/')}") for name in files])
    slots = ["positive", *(name for name in data.column_names if name.startswith("negative"))][
        : None if num_negatives is None else num_negatives + 1
    ]
    owner = side["dataset"].to_pylist()
    before = {kind: np.array([prompts[name][kind] for name in owner], dtype=object) for kind in ("query", "document")}
    ids = [
        [*found, *others][: len(slots)]
        for found, others in zip(side["positive_ids"].to_pylist(), side["negative_ids"].to_pylist(), strict=True)
    ]
    return _Rows(
        query_ids=np.asarray(side["query_id"].to_pylist(), dtype=object),
        queries=before["query"] + np.asarray(data["anchor"].to_pylist(), dtype=object),
        documents=np.stack([before["document"] + np.asarray(data[name].to_pylist(), dtype=object) for name in slots], axis=1),
        ids=np.array(ids, dtype=object).reshape(len(ids), len(slots)),
        values={
            name: _wide(side[column], len(slots))
            for name, column in (("teacher", "teacher_logits"), ("weight", "weights"), ("label", "labels"))
        },
        suspects=list(zip(side["query_id"].to_pylist(), side["suspected_ids"].to_pylist(), strict=True)),
        batch=np.arange(data.num_rows) // int(work.job.settings["mixture"]),
    )


def _wide(column: pa.ChunkedArray, width: int) -> NDArray[np.float32]:
    """Lists of equal length as float32, shape (r, width); NaN: unknown."""
    values = pc.list_flatten(column).to_numpy(zero_copy_only=False).astype(np.float32)
    found: NDArray[np.float32] = values.reshape(len(column), -1)[:, :width]
    return found


def _trained(rows: _Rows, queries: pa.Table) -> tuple[_Rows, dict[str, int]]:
    """Rows of queries that may be trained on; queries of others, by split."""
    splits = dict(zip(queries["query_id"].to_pylist(), queries["split"].to_pylist(), strict=True))
    allowed = queries["query_id"].filter(is_trained(queries["split"])).to_pylist()
    kept = pd.Index(rows.query_ids).isin(allowed)
    others = Counter(str(splits.get(one)) for one in set(rows.query_ids[~kept].tolist()))
    places = np.flatnonzero(kept)
    return (
        _Rows(
            rows.query_ids[kept],
            rows.queries[kept],
            rows.documents[kept],
            rows.ids[kept],
            {name: value[kept] for name, value in rows.values.items()},
            [rows.suspects[place] for place in places.tolist()],
            rows.batch[kept],
        ),
        dict(sorted(others.items())),
    )


def _pairs(rows: _Rows, query: Names, positive: Names, names: Names, documents: Ints, hashes: Mapping[str, str]) -> tuple[Pairs, Pairs]:
    """Pairs of names that are positive, and that are suspected; of the latter those whose document is in some row.

    Where one dataset searches another, a document may stand under the prompts of both: it is suspected under each.
    """
    own = pd.MultiIndex.from_arrays([query, positive]).unique()
    there = documents >= 0
    by_id: dict[str, set[str]] = {}
    for one, name in zip(rows.ids[there].tolist(), names[documents[there]].tolist(), strict=True):
        by_id.setdefault(one, set()).add(name)
    suspected = {(hashes[asked], name) for asked, given in rows.suspects for one in given or () for name in by_id.get(one, ())}
    trained = {
        (name, names[document])
        for name, line in zip(query.tolist(), documents[:, 1:].tolist(), strict=True)
        for document in line
        if document >= 0
    }
    left = sorted(suspected - trained)
    both = (np.array([pair[place] for pair in left], dtype=object) for place in (0, 1))
    return (own.get_level_values(0).to_numpy(dtype=object), own.get_level_values(1).to_numpy(dtype=object)), tuple(both)  # type: ignore[return-value]
