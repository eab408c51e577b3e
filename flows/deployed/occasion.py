"""Whether there is a reason to mine again. Reads files and manifests; no model runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.labels import further_labels
from flows.settings import MineSettings
from flows.staleness import staleness_rows
from flows.stored import stored_settings
from tasks.audit.records import RoundRecord, list_rounds
from tasks.corpus import ingest
from tasks.corpus.dataset import ingest_jobs
from tasks.corpus.sources import find_sources
from tasks.models.fingerprint import document_spec, query_spec
from tasks.runner.runner import stage_key
from tasks.staleness.facts import facts_of
from tasks.store.manifest import read_stage
from tasks.store.storage import Storage


def next_settings(storage: Storage, record: RoundRecord, retriever: str, where: dict[str, Any]) -> MineSettings:
    """The settings of the round after one: as it was mined, without its loop; a checkpoint that is new takes the next chunk of the queries.

    Args:
        storage: the root.
        record: the last round.
        retriever: the newest checkpoint; empty: where the round's own model lies.
        where: root, cluster and workers.

    Raises:
        ModelError: there is no such checkpoint.
    """
    settings = stored_settings(record)
    if retriever and retriever != settings.model.path:
        settings = settings.with_checkpoint(retriever, 0)
    settings = settings.model_copy(update={**where, "rounds": 1, "train": None}).resolved(Path.cwd()).under(storage)
    return settings.with_chunk(1) if is_new_checkpoint(storage, record, settings) else settings


def is_new_checkpoint(storage: Storage, record: RoundRecord, settings: MineSettings) -> bool:
    """Whether the encoders are others than a round's: by content, wherever they lie."""
    models = document_spec(settings.document_encoder, storage).fingerprint, query_spec(settings.model, storage).fingerprint
    return (_model_before(storage, record, "document_vectors"), _model_before(storage, record, "query_vectors")) != models


def why_mine(storage: Storage, record: RoundRecord, settings: MineSettings, stale_above: float, share: float | None) -> list[str]:
    """The reasons to mine after a round, in words; none: nothing has changed.

    Args:
        storage: the root.
        record: the last round.
        settings: of the next one.
        stale_above: limit of ``share``.
        share: :func:`stale_share`.
    """
    reasons = []
    if is_new_checkpoint(storage, record, settings):
        reasons.append(f"a new checkpoint ({settings.model.path})")
    if record.stage(ingest.STAGE.name).key != _ingest_key(storage, settings):
        reasons.append("the dataset's files or labels have changed")
    if share is not None and share > stale_above:
        reasons.append(f"{100 * share:.0f} % of what the negatives taught is gone (limit {100 * stale_above:.0f} %)")
    return reasons


def stale_share(storage: Storage, record: RoundRecord) -> float | None:
    """The share of their loss that a round's negatives lost, by the newest checkpoint that looked back at it; none: none did."""
    rounds = list_rounds(storage, record.dataset)
    for later in sorted(rounds, key=lambda one: -one.number):
        if later.number > record.number and later.staleness is not None:
            rows = staleness_rows(storage, [later])
            past = staleness_rows(storage, [one for one in rounds if one.number < later.number])
            for one in facts_of(rows, past, {}).earlier:
                if one.round == record.number and one.lost is not None:
                    return one.lost
    return None


def _model_before(storage: Storage, record: RoundRecord, role: str) -> str | None:
    reference = record.roles[role]
    manifest = read_stage(storage, reference.stage, reference.key, check_files=False)
    return None if manifest is None else str(manifest.settings["model"])


def _ingest_key(storage: Storage, settings: MineSettings) -> str:
    sources = [*find_sources(settings.dataset), *further_labels(storage, settings.dataset)]
    return stage_key(ingest.STAGE, ingest_jobs(storage, settings.dataset, sources))
