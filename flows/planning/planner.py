"""The plan of a run: what its corpus holds, what is finished, how fast this machine is, put into the formulas."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flows.planning.calibrate import Say, kept_speeds, measure_speeds, worker_threads
from flows.planning.encoders import Encoder, Encoders, encoders
from flows.planning.facts import Facts, given_facts, ingested_facts, look_at_files, stamps
from flows.planning.kept import find_or_make
from flows.planning.look import Looked, look
from flows.planning.notes import notes
from flows.planning.work import workload
from flows.settings import MineSettings
from tasks.embed.known import how_many
from tasks.embed.segments import space_of
from tasks.errors import InputError, UsageError
from tasks.models.shape import shape_of
from tasks.plan.plan import Plan, make_plan
from tasks.store.storage import Storage, open_storage

_LOG = logging.getLogger(__name__)
_DIM = 384  # where a model's configuration does not say


@dataclass(frozen=True)
class Asked:
    """What a plan is asked for beside its run: other counts than the corpus has, and whether speeds are measured anew."""

    documents: int | None = None
    queries: int | None = None
    calibrate: bool = False


def plan_run(settings: MineSettings, asked: Asked, say: Say) -> Plan:
    """The plan of a run; speeds that are not kept are measured.

    Args:
        settings: of the run, with absolute paths.
        asked: see there.
        say: is told what is measured.

    Raises:
        HardmineError: the corpus or a model is not there.
    """
    if settings.remote_endpoints:
        raise UsageError(
            "a model behind an endpoint (remote) has no speed that could be measured here", "plan with the models that run here alone"
        )
    storage = _present(settings.root)
    models = encoders(settings, storage)
    looked = Looked() if storage is None or asked.documents or asked.queries else look(settings, storage)
    facts = _facts(settings, storage, looked, asked)
    dim = shape_of(settings.model, storage).dim or _DIM
    with worker_threads(settings):
        speeds = None if asked.calibrate else kept_speeds(settings, models, dim)
        if speeds is None:
            speeds = measure_speeds(settings, models, facts, dim, asked.calibrate, say)
    work = workload(settings, storage, models, facts, looked, dim, _known(settings, storage, models, facts, looked))
    return make_plan(settings.dataset.name, work, speeds, looked.finished, notes(settings, storage, models, facts, work, looked))


def plan_if_known(settings: MineSettings) -> Plan | None:
    """The plan of a run, where all its speeds are kept; nothing is measured, and no model is loaded. A plan that fails stops no run."""
    if settings.remote_endpoints:
        return None
    try:
        storage = _present(settings.root)
        models = encoders(settings, storage)
        with worker_threads(settings):
            known = kept_speeds(settings, models, shape_of(settings.model, storage).dim or _DIM)
        return plan_run(settings, Asked(), lambda _: None) if known is not None else None
    except Exception as error:
        _LOG.warning("the run is not planned: %s: %s", type(error).__name__, error)
        return None


def _present(root: str) -> Storage | None:
    """The root; a folder that is not there is not made."""
    return open_storage(root) if "://" in root or Path(root).is_dir() else None


def _facts(settings: MineSettings, storage: Storage | None, looked: Looked, asked: Asked) -> Facts:
    if looked.dataset is not None and storage is not None:
        return ingested_facts(storage, looked.dataset)
    try:
        key = ("facts", settings.dataset.model_dump(mode="json"), stamps(settings.dataset))
        found = find_or_make(Facts, lambda: look_at_files(settings.dataset, storage), False, *key)
    except InputError:
        if asked.documents is None or asked.queries is None:
            raise
        found = given_facts(asked.documents, asked.queries)
    return found.resized(asked.documents, asked.queries)


def _known(settings: MineSettings, storage: Storage | None, models: Encoders, facts: Facts, looked: Looked) -> tuple[float, float]:
    """Shares of the documents and queries whose vectors are stored, as a sample of each says."""
    if storage is None or facts.source == "given":
        return 0.0, 0.0
    documents, queries = facts.hashes()
    return (
        _share(storage, models.documents, settings.document_encoder.vector_dtype, documents),
        _share(storage, models.queries, settings.model.vector_dtype, queries),
    )


def _share(storage: Storage, encoder: Encoder, vector_dtype: str, hashes: Sequence[str]) -> float:
    if not hashes:
        return 0.0
    wanted = np.array(hashes, dtype="S32")
    return how_many(storage, space_of(encoder.spec.fingerprint, vector_dtype), wanted) / len(wanted)
