"""What a checkpoint was trained on, from the trainings behind it: queries that it must not be measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from flows.lineage import trainings_behind
from flows.settings import MineSettings
from tasks.audit.checkpoints import TrainingRecord, read_trainings, recorded_datasets
from tasks.errors import UsageError
from tasks.finetune.stage import QUERIES_FILE
from tasks.models.fingerprint import document_spec, query_spec
from tasks.store.manifest import Part, read_stage
from tasks.store.storage import Storage
from tasks.store.tables import read_parts, read_table

_NAMES = ["norm_hash", "group"]


@dataclass(frozen=True)
class TrainedOn:
    """The queries behind a checkpoint.

    Args:
        texts: digests of their normal forms.
        groups: names of their groups, as they were then.
        rounds: whose rows it was trained on, as in ``cranfield/2``, the newest first.
        known: whether this is all: the model's own training is recorded here, and every recorded one says which queries it took.
    """

    texts: pa.Array
    groups: pa.Array
    rounds: tuple[str, ...]
    known: bool


def encoders(settings: MineSettings, storage: Storage) -> list[str]:
    """Fingerprints of the models that embed under some settings: of the queries' first, then of the documents' own, where there is one."""
    own = [document_spec(settings.document_model, storage).weights] if settings.document_model is not None else []
    return [query_spec(settings.model, storage).weights, *own]


def trained_on(storage: Storage, dataset: str, models: Sequence[str]) -> TrainedOn:
    """Walk back over all recorded trainings, from a model to the one that its training began with.

    Args:
        storage: the root; trainings of other datasets count too, by their queries' texts.
        dataset: whose groups have the names that are compared.
        models: fingerprints of one retriever's encoders, the queries' first.
    """
    every = [one for name in recorded_datasets(storage) for one in read_trainings(storage, name)]
    found = trainings_behind(every, models)
    tables = {one.train.key: _queries(storage, one) for one in found}
    read = [table for table in tables.values() if table is not None]
    own = [table for one in found if one.dataset == dataset and (table := tables[one.train.key]) is not None]
    return TrainedOn(
        texts=_values(read, "norm_hash"),
        groups=_values(own, "group"),
        rounds=tuple(dict.fromkeys(f"{one.dataset}/{one.round}" for one in found)),
        known=any(one.model == models[0] for one in found) and len(read) == len(tables),
    )


def lists_behind(storage: Storage, dataset: str, model: str) -> list[Part]:
    """Parts of the trainings on a dataset that a model came from, that say which queries they took: by key."""
    found = {one.train.key: one for one in read_trainings(storage, dataset) if one.kind == "retriever" and one.model == model}
    return [part for _, one in sorted(found.items()) for part in _lists(storage, one)]


def check_unseen(storage: Storage, dataset: str, queries: Sequence[Part], split: str, models: Sequence[str]) -> bool:
    """Fail before anything runs where a checkpoint is to be measured on queries that it, or a model before it, was trained on.

    Splits may have changed since: what counts is what the trainings themselves wrote down. A query counts as seen where its normal form
    was trained on, or another query of its group, by the groups of then and of now.

    Args:
        storage: the root.
        dataset: name.
        queries: parts with queries.parquet.
        split: which queries are to be measured.
        models: see :func:`trained_on`.

    Returns:
        Whether it is known what the checkpoint was trained on; of a foreign one it is not, and nothing is refused.

    Raises:
        UsageError: how many queries were trained on.
    """
    behind = trained_on(storage, dataset, models)
    if not len(behind.texts):
        return behind.known
    table = read_parts(storage, queries, "queries.parquet", [*_NAMES, "split"])
    trained = pc.is_in(table["norm_hash"], value_set=behind.texts)
    groups = pa.concat_arrays([behind.groups, table["group"].filter(trained).drop_null().combine_chunks().cast(pa.string())])
    seen = pc.or_(trained, pc.is_in(table["group"], value_set=groups))
    measured = pc.fill_null(pc.equal(pc.utf8_lower(table["split"]), split.lower()), False)
    count = pc.sum(pc.and_(seen, measured)).as_py() or 0
    if count:
        raise UsageError(
            f"dataset {dataset}: the checkpoint was trained on {count:,} of the {pc.sum(measured).as_py():,} queries of split {split!r}, "
            f"or on others of their groups ({', '.join(behind.rounds)}): the splits were others then, or groups have joined since",
            "train from the base model under the splits as they are now, or measure with the splits that it was trained under",
        )
    return behind.known


def _queries(storage: Storage, training: TrainingRecord) -> pa.Table | None:
    """What a training wrote down; none: it is gone, or is of a version that wrote nothing."""
    lists = _lists(storage, training)
    return read_table(storage, lists[0].file(QUERIES_FILE), _NAMES) if lists else None


def _lists(storage: Storage, training: TrainingRecord) -> list[Part]:
    manifest = read_stage(storage, training.train.stage, training.train.key)
    return [part for part in manifest.parts if any(file.name == QUERIES_FILE for file in part.files)] if manifest else []


def _values(tables: Sequence[pa.Table], name: str) -> pa.Array:
    if not tables:
        return pa.array([], pa.string())
    return pa.concat_tables(tables)[name].drop_null().unique().cast(pa.string())
