"""Stage ``train-retriever``: the next checkpoint from the training rows of a selection.

It reads the rows that select wrote and the texts themselves, and not a shard format: so the model is trained on the
very inputs that it embeds (its own title template and prompts), and rows of any length take part. What must be masked in
a batch comes from the same decisions that the sidecar of the shards is made from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from tasks.errors import InputError, UsageError
from tasks.finetune.splits import TRAINED, is_trained
from tasks.models.fingerprint import document_spec
from tasks.models.hardware import resolve_dtype
from tasks.models.losses.registry import LOSSES
from tasks.models.settings import ModelSettings
from tasks.models.train_settings import TrainSettings
from tasks.runner.stage import Job, Stage
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import read_table

STAGE = Stage(name="train-retriever", version=4, function="tasks.finetune.run:run", unit="steps", model=True)
QUERIES_FILE = "queries.parquet"  # query_id, norm_hash, group of the queries that the model and those before it were trained on


@dataclass(frozen=True)
class Mined:
    """One selection of one round.

    Args:
        name: of the round, as in ``cranfield/2``.
        recipe: that made the selection.
        selection_id: of the selection.
        select: parts with rows.parquet and decisions.parquet.
        scored: parts with scored.parquet, in the same order.
        documents: the round's document partitions, in order.
    """

    name: str
    recipe: str
    selection_id: str
    select: Sequence[Part]
    scored: Sequence[Part]
    documents: Sequence[Part]


@dataclass(frozen=True)
class Behind:
    """What is known of the trainings that the base checkpoint came from.

    Args:
        lists: parts of this stage with queries.parquet: who was trained on.
        uses: what its card says that it was trained on, as :func:`tasks.finetune.card.uses` reads it.
    """

    lists: Sequence[Part] = ()
    uses: Sequence[Mapping[str, str]] = ()


NOTHING_BEHIND = Behind()


def jobs(
    storage: Storage,
    mined: Mined,
    queries: Sequence[Part],
    model: ModelSettings,
    settings: TrainSettings,
    suspect_reasons: Sequence[str],
    stages: Sequence[str] = ("main",),
    earlier: Sequence[Mined] = (),
    document_vectors: Sequence[Part] = (),
    behind: Behind = NOTHING_BEHIND,
) -> list[Job]:
    """The one job ``retriever``; units are steps.

    Args:
        storage: the root; the rows are counted.
        mined: what to train on.
        queries: parts with queries.parquet, in the order of ``mined.select``; their splits decide who takes part.
        model: the base checkpoint, its prompts and title template.
        settings: of the training.
        suspect_reasons: rejections for these reasons are masked in a batch, as :class:`tasks.shards.settings.ShardSettings` has them.
        stages: the recipe's training stages, in order.
        earlier: earlier rounds' selections, for ``settings.earlier``.
        document_vectors: parts of ``embed-documents`` of ``mined.documents``, for losses that search a frozen index.
        behind: what the base checkpoint was trained on, for the card and for the list of trained queries.

    Raises:
        UsageError: the settings ask for something that is not given.
        InputError: no training row belongs to a query that may be trained on.
    """
    _check(settings, earlier, document_vectors)
    if model.adapter is not None:
        raise UsageError(
            f"model {model.path}: a model with an adapter is not trained here",
            "merge the adapter (PEFT's merge_and_unload), save the model, and give its folder as path",
        )
    anchors = count_anchors(storage, mined.select, queries, stages)
    spec = document_spec(model, storage)
    rounds = [mined, *(earlier if settings.earlier else ())]
    inputs = {"queries": tuple(part.only("queries.parquet") for part in queries)}
    for number, each in enumerate(rounds):
        inputs[f"select.{number}"] = tuple(part.only("rows.parquet", "decisions.parquet") for part in each.select)
        inputs[f"scored.{number}"] = tuple(part.only("scored.parquet") for part in each.scored)
        inputs[f"documents.{number}"] = tuple(part.only("docs.parquet") for part in each.documents)
    if "vectors" in LOSSES[settings.loss.kind].materials:
        inputs["vectors"] = tuple(part.only("vectors.npy") for part in document_vectors)
    if behind.lists:
        inputs["trained_before"] = tuple(part.only(QUERIES_FILE) for part in behind.lists)
    dtype = resolve_dtype(settings.dtype, spec.device)
    keyed = {
        "training": settings.model_dump(mode="json", exclude={"dtype", "save_every", *(["devices"] if settings.devices == 1 else [])}),
        "base": spec.weights,
        "dtype": dtype,
        "device": spec.device,
        "query_prompt": model.query_prompt,
        "document_prompt": model.document_prompt,
        "title_template": model.title_template,
        "suspect_reasons": sorted(set(suspect_reasons)),
        "stages": list(stages),
        "rounds": [{"round": each.name, "recipe": each.recipe, "selection_id": each.selection_id} for each in rounds],
        "behind": [dict(each) for each in behind.uses],
    }
    options = {
        "spec": spec.model_copy(update={"dtype": dtype}).model_dump(mode="json"),
        "training": settings.model_dump(mode="json"),
    }
    steps = sum(-(-count // settings.batch_size) for count in anchors) * settings.epochs
    return [Job(index="retriever", inputs=inputs, settings=keyed, options=options, units=steps)]


def count_anchors(storage: Storage, select: Sequence[Part], queries: Sequence[Part], stages: Sequence[str]) -> list[int]:
    """Rows of each training stage that may be trained on (of the first epoch's, where there are several).

    Raises:
        InputError: there are none.
    """
    counts = dict.fromkeys(stages, 0)
    for chosen, asked in zip(select, queries, strict=True):
        rows = read_table(storage, chosen.file("rows.parquet"), ["query_id", "stage", "epoch", "slot"])
        rows = rows.filter(pc.and_(pc.equal(rows["slot"], 0), pc.equal(rows["epoch"], 0)))
        table = read_table(storage, asked.file("queries.parquet"), ["query_id", "split"])
        trained = table["query_id"].filter(is_trained(table["split"]))
        rows = rows.filter(pc.is_in(rows["query_id"], value_set=trained.combine_chunks()))
        stage = np.asarray(rows["stage"].to_pylist(), dtype=object)
        for name in counts:
            counts[name] += int((stage == name).sum())
    if not any(counts.values()):
        raise InputError(
            f"there is nothing to train on: no training row belongs to a query of split {TRAINED!r} (or of none)",
            "check dataset.splits, and that the selection has rows; queries of other splits are never trained on",
        )
    return list(counts.values())


def _check(settings: TrainSettings, earlier: Sequence[Mined], document_vectors: Sequence[Part]) -> None:
    if settings.earlier and not earlier:
        raise UsageError(f"train.earlier is {settings.earlier:g}, and there is no earlier round", "set it to 0 for the first round")
    if "vectors" in LOSSES[settings.loss.kind].materials and not document_vectors:
        raise UsageError(f"loss {settings.loss.kind} searches a frozen index", "give the documents' vectors, or choose another loss")
