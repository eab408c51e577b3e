"""The stages of retrieval as Prefect tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.folds import Fold
from tasks.retrieve import bm25, clusters, dense
from tasks.retrieve import candidates as merged
from tasks.retrieve.candidates import NO_OTHERS, Others
from tasks.retrieve.further_settings import FurtherSource
from tasks.retrieve.given import stage as given
from tasks.retrieve.given import vectors
from tasks.retrieve.given.vector_files import VectorFiles
from tasks.retrieve.languages import Languages
from tasks.retrieve.settings import Bm25Settings, DenseSettings, RetrieveSettings
from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.store.manifest import Part, StageManifest

_clusters = stage_task(clusters.STAGE)
_dense = {"cpu": stage_task(dense.STAGE), "cuda": stage_task(dense.ON_DEVICE)}
_statistics = stage_task(bm25.STATISTICS_STAGE)
_bm25 = stage_task(bm25.STAGE)
_candidates = stage_task(merged.STAGE)
_given = stage_task(given.STAGE)
_given_documents = stage_task(vectors.DOCUMENTS)
_given_queries = stage_task(vectors.QUERIES)


def retrieve_dense(
    context: Context,
    settings: DenseSettings,
    embed_documents: Sequence[Part],
    embed_queries: Sequence[Part],
    queries: Sequence[Part] = (),
    chunk: Fold | None = None,
    languages: Languages = "any",
    documents: Sequence[Part] = (),
) -> list[StageManifest]:
    """Search by vectors: for an ivf index the stage ``dense-clusters``; last, the stage ``retrieve-dense``."""
    chosen = dense.settled(settings, embed_documents)
    trained = [_clusters(context, made) for made in [clusters.jobs(chosen, embed_documents, embed_queries, queries, chunk)] if made]
    parts = [part for manifest in trained for part in manifest.parts]
    return [
        *trained,
        _dense[chosen.device](context, dense.jobs(chosen, embed_documents, embed_queries, queries, chunk, parts, languages, documents)),
    ]


def retrieve_bm25(
    context: Context,
    settings: Bm25Settings,
    documents: Sequence[Part],
    queries: Sequence[Part],
    chunk: Fold | None = None,
    languages: Languages = "any",
) -> tuple[StageManifest, StageManifest]:
    """Search by words: stages ``bm25-statistics`` and ``retrieve-bm25``."""
    statistics = _statistics(context, bm25.statistics_jobs(settings, documents))
    return statistics, _bm25(context, bm25.jobs(settings, documents, statistics.parts, queries, chunk, languages))


def candidates(
    context: Context,
    settings: RetrieveSettings,
    documents: Sequence[Part],
    queries: Sequence[Part],
    embed_documents: Sequence[Part],
    embed_queries: Sequence[Part],
    retrieved: Mapping[str, Sequence[Part]],
    positive_min_grade: int,
    seed: int,
    planted: float,
    chunk: Fold | None = None,
    others: Others = NO_OTHERS,
) -> StageManifest:
    """The union of all sources, with labels: stage ``candidates``."""
    found = (embed_documents, embed_queries, retrieved)
    return _candidates(context, merged.jobs(settings, documents, queries, *found, positive_min_grade, seed, planted, chunk, others))


def given_source(
    context: Context,
    source: FurtherSource,
    files: Sequence[Path],
    documents: Sequence[Part],
    queries: Sequence[Part],
    earlier: Sequence[given.Negatives] = (),
    id_prefix: str = "",
    chunked: bool = False,
) -> StageManifest:
    """Candidates that are there already: stage ``given-candidates``."""
    return _given(context, given.jobs(source, files, documents, queries, earlier, id_prefix, chunked))


def given_vectors(
    context: Context,
    source: FurtherSource,
    files: tuple[VectorFiles, VectorFiles],
    documents: Sequence[Part],
    queries: Sequence[Part],
    id_prefix: str = "",
) -> tuple[StageManifest, StageManifest]:
    """Precomputed vectors: stages ``given-document-vectors`` and ``given-query-vectors``."""
    of_documents = _given_documents(context, vectors.jobs(source, files[0], "documents", documents, id_prefix))
    return of_documents, _given_queries(context, vectors.jobs(source, files[1], "queries", queries, id_prefix))
