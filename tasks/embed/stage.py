"""Stages ``embed-documents`` and ``embed-queries``: one vector a row of each partition, row-aligned with its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from tasks.embed.segments import Pinned
from tasks.models.fingerprint import ModelSpec
from tasks.runner.stage import Job, Stage
from tasks.store.manifest import Part

EMBED_DOCUMENTS = Stage(name="embed-documents", version=1, function="tasks.embed.run:documents", unit="documents", model=True, splits=True)
EMBED_QUERIES = Stage(name="embed-queries", version=1, function="tasks.embed.run:queries", unit="queries", model=True, splits=True)

VectorDtype = Literal["float32", "float16"]


def document_jobs(
    documents: Sequence[Part],
    spec: ModelSpec,
    vector_dtype: VectorDtype = "float32",
    previous: Mapping[str, Part] | None = None,
    known: Pinned | None = None,
) -> list[Job]:
    """One job a partition of ``documents``.

    Args:
        documents: committed parts with ``docs.parquet``.
        spec: :func:`tasks.models.fingerprint.document_spec`.
        vector_dtype: in which vectors are stored.
        previous: by index, earlier parts whose vectors of equal texts may be copied.
        known: where to look for the vectors of other texts; see :mod:`tasks.embed.known`.
    """
    return _jobs(documents, "docs.parquet", "documents", spec, vector_dtype, previous or {}, known)


def query_jobs(
    queries: Sequence[Part],
    spec: ModelSpec,
    vector_dtype: VectorDtype = "float32",
    previous: Mapping[str, Part] | None = None,
    known: Pinned | None = None,
) -> list[Job]:
    """One job a partition of ``queries``; see :func:`document_jobs`."""
    return _jobs(queries, "queries.parquet", "queries", spec, vector_dtype, previous or {}, known)


def _jobs(
    parts: Sequence[Part], name: str, role: str, spec: ModelSpec, vector_dtype: str, previous: Mapping[str, Part], known: Pinned | None
) -> list[Job]:
    settings = {"model": spec.fingerprint, "vector_dtype": vector_dtype}
    return [
        Job(
            index=part.index,
            inputs={role: (part.only(name),)},
            settings=settings,
            options={
                "spec": spec.model_dump(mode="json"),
                "previous": previous[part.index].model_dump(mode="json") if part.index in previous else None,
                "known": known.model_dump(mode="json") if known else None,
            },
            units=part.file(name).rows or 0,
        )
        for part in parts
    ]
