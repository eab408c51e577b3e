"""Embedding as Prefect tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.embed.known import pin
from tasks.embed.lineage import previous_part, remember_part
from tasks.embed.segments import space_of
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
    """Vectors of all documents: stage ``embed-documents``. Vectors of texts that this model has embedded before are copied."""
    return _run(context, EMBED_DOCUMENTS, _documents, document_jobs, dataset, document_spec(settings, context.storage), settings, documents)


def embed_queries(context: Context, settings: ModelSettings, dataset: str, queries: Sequence[Part]) -> StageManifest:
    """Vectors of all queries: stage ``embed-queries``. Vectors of texts that this model has embedded before are copied."""
    return _run(context, EMBED_QUERIES, _queries, query_jobs, dataset, query_spec(settings, context.storage), settings, queries)


def _run(
    context: Context,
    stage: Stage,
    call: StageCall,
    jobs: Callable[..., list[Job]],
    dataset: str,
    spec: ModelSpec,
    settings: ModelSettings,
    parts: Sequence[Part],
) -> StageManifest:
    plain = jobs(parts, spec, settings.vector_dtype)
    if find_stage(context.storage, stage, plain) is not None:
        return call(context, plain)
    found = {part.index: previous_part(context.storage, dataset, spec.fingerprint, stage.name, part.index) for part in parts}
    previous = {index: part for index, part in found.items() if part is not None}
    known = pin(context.storage, space_of(spec.fingerprint, settings.vector_dtype))
    manifest = call(context, jobs(parts, spec, settings.vector_dtype, previous, known))
    for part in manifest.parts:
        remember_part(context.storage, dataset, spec.fingerprint, part)
    return manifest
