"""Embedding as Prefect tasks."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.embed.lineage import previous_part, remember_part
from tasks.embed.stage import EMBED_DOCUMENTS, EMBED_QUERIES, document_jobs, query_jobs
from tasks.models.fingerprint import ModelSpec, document_spec, query_spec
from tasks.models.settings import ModelSettings
from tasks.runner.prefect_task import StageCall, stage_task
from tasks.runner.runner import Context, find_stage
from tasks.runner.stage import Job, Stage
from tasks.store.manifest import Part, StageManifest

_documents = stage_task(EMBED_DOCUMENTS)
_queries = stage_task(EMBED_QUERIES)


def embed_documents(context: Context, settings: ModelSettings, dataset: str, documents: Sequence[Part]) -> StageManifest:
    """Vectors of all documents: stage ``embed-documents``. Vectors of texts that have not changed are copied."""
    spec = document_spec(settings)
    previous = _lineage(context, EMBED_DOCUMENTS, dataset, spec, documents)
    return _run(context, EMBED_DOCUMENTS, _documents, dataset, spec, document_jobs(documents, spec, settings.vector_dtype, previous))


def embed_queries(context: Context, settings: ModelSettings, dataset: str, queries: Sequence[Part]) -> StageManifest:
    """Vectors of all queries: stage ``embed-queries``. Vectors of texts that have not changed are copied."""
    spec = query_spec(settings)
    previous = _lineage(context, EMBED_QUERIES, dataset, spec, queries)
    return _run(context, EMBED_QUERIES, _queries, dataset, spec, query_jobs(queries, spec, settings.vector_dtype, previous))


def _lineage(context: Context, stage: Stage, dataset: str, spec: ModelSpec, parts: Sequence[Part]) -> dict[str, Part]:
    found = {part.index: previous_part(context.storage, dataset, spec.fingerprint, stage.name, part.index) for part in parts}
    return {index: part for index, part in found.items() if part is not None}


def _run(context: Context, stage: Stage, call: StageCall, dataset: str, spec: ModelSpec, jobs: Sequence[Job]) -> StageManifest:
    cached = find_stage(context.storage, stage, jobs) is not None
    manifest = call(context, jobs)
    for part in () if cached else manifest.parts:
        remember_part(context.storage, dataset, spec.fingerprint, part)
    return manifest
