"""Whether there is a reason to mine again. Reads files and manifests; no model runs."""

from __future__ import annotations

from flows.labels import further_labels
from flows.settings import MineSettings
from flows.staleness import staleness_rows
from tasks.audit.records import RoundRecord, list_rounds
from tasks.corpus import ingest
from tasks.corpus.dataset import ingest_jobs
from tasks.corpus.sources import find_sources
from tasks.models.fingerprint import document_spec, query_spec
from tasks.runner.runner import stage_key
from tasks.staleness.facts import facts_of
from tasks.store.manifest import read_stage
from tasks.store.storage import Storage


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
    models = document_spec(settings.document_encoder, storage).fingerprint, query_spec(settings.model, storage).fingerprint
    if (_model_before(storage, record, "document_vectors"), _model_before(storage, record, "query_vectors")) != models:
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
