"""Written documents as Prefect tasks."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.store.manifest import Part, StageManifest
from tasks.write.stage import CANDIDATES, DOCUMENTS, candidate_jobs, document_jobs

_documents = stage_task(DOCUMENTS)
_candidates = stage_task(CANDIDATES)


def written_documents(context: Context, stored: tuple[str, int, str]) -> StageManifest:
    """Written documents as a partition: stage ``written-documents``. See :func:`tasks.write.stage.document_jobs`."""
    return _documents(context, document_jobs(stored))


def written_candidates(
    context: Context,
    candidates: Sequence[Part],
    queries: Sequence[Part],
    query_vectors: Sequence[Part],
    written: Part,
    vectors: Part,
    partition: int,
) -> StageManifest:
    """Candidates with the written documents among them: stage ``candidates-written``. See :func:`tasks.write.stage.candidate_jobs`."""
    return _candidates(context, candidate_jobs(candidates, queries, query_vectors, written, vectors, partition))
