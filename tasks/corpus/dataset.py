"""A dataset version: its documents and queries as committed, what they count, and the way to make it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.corpus import capped as capped_stage
from tasks.corpus import chunks as chunks_stage
from tasks.corpus import documents as documents_stage
from tasks.corpus import groups as groups_stage
from tasks.corpus import ingest as ingest_stage
from tasks.corpus import queries as queries_stage
from tasks.corpus import visible as visible_stage
from tasks.corpus.records import GIVES_DOCUMENTS, GIVES_QUERIES
from tasks.corpus.rejected import check_rejected
from tasks.corpus.settings import DatasetSettings
from tasks.corpus.sources import Source, find_sources
from tasks.corpus.splits import check_splits
from tasks.errors import InputError, UsageError
from tasks.models.spans import Sight, tokenizer_of
from tasks.runner.runner import Context, run_stage
from tasks.runner.stage import Job, Stage
from tasks.store.keys import digest
from tasks.store.manifest import Part, StageManifest
from tasks.store.pointers import read_pointer, update_pointer
from tasks.store.storage import Storage

DOCUMENT_BYTES, DOCUMENT_ROWS = 32 << 20, 131_072  # of a partition: its texts, and its vectors, are in memory together
QUERY_BYTES, QUERY_ROWS = 8 << 20, 8_192  # of a partition: its candidates are in memory together
FEWEST, MOST = 4, 4_096

Run = Callable[[Context, Stage, Sequence[Job]], StageManifest]


class Dataset(BaseModel):
    """One version of a dataset.

    ``stages`` are the manifests that it came from, ``document_stage`` and ``query_stage`` those that it is.
    ``documents`` have ``docs.parquet``; ``queries`` have
    ``queries.parquet`` and ``qrels.parquet``. ``counts``: documents, queries, queries_without_positives, qrels,
    positives, merged (the same row again, where ids are made from content), outside_split (queries of other splits).
    ``grades``: judgements by grade. ``set_aside``: positives whose answer no chunk holds, or the model does not see.
    ``chunked``: documents are chunks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    stages: tuple[StageManifest, ...]
    document_stage: StageManifest
    query_stage: StageManifest
    documents: tuple[Part, ...]
    queries: tuple[Part, ...]
    counts: dict[str, int]
    grades: dict[str, int]
    max_positives: int
    rejected: int
    set_aside: int = 0
    chunked: bool = False

    @property
    def document_count(self) -> int:
        """Documents of this version."""
        return self.counts["documents"]

    @property
    def query_count(self) -> int:
        """Queries of this version."""
        return self.counts["queries"]


def partition_counts(storage: Storage, settings: DatasetSettings, sources: Sequence[Source]) -> tuple[int, int]:
    """(document partitions, query partitions) of a dataset: fixed when it is first seen, by its name.

    ``auto`` bounds what a worker has in memory, whatever the corpus' size: by bytes of text, and for short texts by rows.

    Args:
        storage: the root, where they are kept as ``pointers/datasets/<name>/partitions.json``.
        settings: numbers, or ``auto``.
        sources: of the dataset.

    Raises:
        UsageError: a number is given and another one is fixed.
    """
    wanted = {"documents": settings.document_partitions, "queries": settings.query_partitions}
    size = sum(source.text_bytes for source in sources)
    chosen = wanted_partitions(settings, size, _rows(sources, GIVES_DOCUMENTS), _rows(sources, GIVES_QUERIES))
    fixed = update_pointer(storage, f"datasets/{settings.name}/partitions", lambda present: chosen if present is None else None) or chosen
    for name, field in (("documents", "document_partitions"), ("queries", "query_partitions")):
        if wanted[name] != "auto" and wanted[name] != fixed[name]:
            raise UsageError(
                f"dataset.{field}: dataset {settings.name} has {fixed[name]} under this root, not {wanted[name]}",
                f"set it to {fixed[name]} or auto, or give the dataset another name",
            )
    return int(fixed["documents"]), int(fixed["queries"])


def wanted_partitions(settings: DatasetSettings, size: int, documents: int, queries: int) -> dict[str, int]:
    """Partitions of ``documents`` and ``queries`` that a new dataset of so many bytes of text and rows gets."""
    auto = {
        "documents": _clamped(size, DOCUMENT_BYTES, documents, DOCUMENT_ROWS),
        "queries": _clamped(size, QUERY_BYTES, queries, QUERY_ROWS),
    }
    given = {"documents": settings.document_partitions, "queries": settings.query_partitions}
    return {name: auto[name] if count == "auto" else int(count) for name, count in given.items()}


def fixed_partitions(storage: Storage, name: str) -> dict[str, int] | None:
    """Partitions of ``documents`` and ``queries`` that a dataset has under this root; ``None``: it was never ingested there."""
    return read_pointer(storage, f"datasets/{name}/partitions")


def ingest_jobs(storage: Storage, settings: DatasetSettings, sources: Sequence[Source]) -> list[Job]:
    """Jobs of the stage ``ingest``; fixes the partition counts."""
    return ingest_stage.jobs(sources, settings, *partition_counts(storage, settings, sources))


def documents_jobs(ingest: StageManifest) -> list[Job]:
    """Jobs of the stage ``documents``."""
    return documents_stage.jobs(ingest, *_counts_of(ingest))


def groups_jobs(ingest: StageManifest, documents: StageManifest, settings: DatasetSettings) -> list[Job]:
    """Jobs of the stage ``query-groups``."""
    beir, by_parent = settings.format == "beir", settings.split_by == "parent"
    count = _counts_of(ingest)[1]
    return groups_stage.jobs(ingest, documents, count, settings.near_duplicates, by_parent, settings.positive_min_grade, beir)


def queries_jobs(ingest: StageManifest, documents: StageManifest, groups: StageManifest, settings: DatasetSettings, seed: int) -> list[Job]:
    """Jobs of the stage ``queries``."""
    beir = settings.format == "beir"
    return queries_stage.jobs(ingest, documents, groups, _counts_of(ingest)[1], seed, settings.positive_min_grade, beir, settings.splits)


def ingest_dataset(
    context: Context,
    settings: DatasetSettings,
    seed: int,
    run: Run = run_stage,
    further: Sequence[Source] = (),
    sight: Sight | None = None,
) -> Dataset:
    """Read a dataset: find its sources, run its stages, check what was set aside.

    Args:
        context: of the run.
        settings: with absolute paths.
        seed: of the folds.
        run: how a stage is run.
        further: sources besides the user's, read after them.
        sight: what the retriever sees of a document; none: it is not looked whether it sees the answers.

    Raises:
        InputError: sources are missing or unusable, too many rows are, or nothing is left to mine.
        UsageError: a setting does not fit the sources.
        ModelError: chunks are counted by a tokenizer that is not there.
    """
    sources = [*find_sources(settings), *further]
    tokenizer = _tokenizer(settings)
    ingest = run(context, ingest_stage.STAGE, ingest_jobs(context.storage, settings, sources))
    check_rejected(context.storage, ingest.parts, settings.max_rejected, settings.name)
    whole = run(context, documents_stage.STAGE, documents_jobs(ingest))
    documents = whole
    if settings.chunk is not None:
        least = settings.positive_min_grade
        work = chunks_stage.jobs(ingest, whole, settings.chunk, tokenizer, _counts_of(ingest)[1], least)
        documents = run(context, chunks_stage.STAGE, work)
    groups = run(context, groups_stage.STAGE, groups_jobs(ingest, documents, settings))
    queries = run(context, queries_stage.STAGE, queries_jobs(ingest, documents, groups, settings, seed))
    later = [run(context, capped_stage.STAGE, capped_jobs(queries, settings, seed))] if is_capped(settings) else []
    asked = [queries, *later][-1]
    if sight is not None and settings.cut_answers == "set_aside" and any(part.meta.get("with_answers") for part in asked.parts):
        work = visible_stage.jobs(asked.parts, documents.parts, sight, settings.positive_min_grade)
        later.append(run(context, visible_stage.STAGE, work))
    return dataset_of(context.storage, settings, ingest, whole, documents, groups, queries, later)


def _tokenizer(settings: DatasetSettings) -> tuple[str, str]:
    if settings.chunk is None or settings.chunk.counts_words:
        return "", ""
    return tokenizer_of(settings.chunk.tokenizer)


def is_capped(settings: DatasetSettings) -> bool:
    """Whether some queries are left out for ``max_queries``; docstrings are when they are read."""
    return bool(settings.max_queries) and settings.format != "docstrings"


def capped_jobs(queries: StageManifest, settings: DatasetSettings, seed: int) -> list[Job]:
    """Jobs of the stage ``capped-queries``."""
    return capped_stage.jobs(queries.parts, settings.max_queries, seed, settings.positive_min_grade)


def dataset_of(
    storage: Storage,
    settings: DatasetSettings,
    ingest: StageManifest,
    whole: StageManifest,
    documents: StageManifest,
    groups: StageManifest,
    queries: StageManifest,
    further: Sequence[StageManifest] = (),
) -> Dataset:
    """The dataset that its stages made: ``documents`` are ``whole`` or their chunks, ``further`` ones read the queries in turn.

    Raises:
        InputError: too many rows were set aside, there is no document, no query has a positive, or a query group lies in two splits.
    """
    parts = [*ingest.parts, *whole.parts, *queries.parts]
    chunked = [documents] if documents is not whole else []
    rejected = check_rejected(storage, parts, settings.max_rejected, settings.name)
    last = further[-1] if further else queries
    counts = _totals(documents.parts, ("documents", "merged"))
    counts.update(_totals(queries.parts, ("merged", "outside_split")))
    counts.update(_totals(last.parts, ("queries", "queries_without_positives", "qrels", "positives")))
    if not counts["documents"]:
        raise InputError(f"dataset {settings.name}: there are no documents", "check that the corpus files are not empty")
    if not counts["positives"]:
        raise InputError(
            f"dataset {settings.name}: no query has a positive ({counts['queries']:,} queries, {counts['qrels']:,} judgements)",
            f"check the qrels, and dataset.positive_min_grade ({settings.positive_min_grade})",
        )
    check_splits(storage, last.parts, settings.name)
    docs = tuple(part.only("docs.parquet") for part in documents.parts)
    asked = tuple(part.only("queries.parquet", "qrels.parquet") for part in last.parts)
    grades: Counter[str] = Counter()
    for part in last.parts:
        grades.update(part.meta["grades"])
    return Dataset(
        name=settings.name,
        version=digest([part.checksum for part in docs], [part.checksum for part in asked]),
        stages=(ingest, whole, *chunked, groups, queries, *further),
        document_stage=documents,
        query_stage=last,
        documents=docs,
        queries=asked,
        counts=dict(sorted(counts.items())),
        grades={grade: grades[grade] for grade in sorted(grades, key=int)},
        max_positives=max(int(part.meta["max_positives"]) for part in last.parts),
        rejected=rejected,
        set_aside=sum(_set_aside(manifest) for manifest in (*chunked, *further)),
        chunked=bool(chunked),
    )


def _totals(parts: Sequence[Part], names: Sequence[str]) -> Counter[str]:
    return Counter({name: sum(int(part.meta[name]) for part in parts) for name in names})


def _set_aside(manifest: StageManifest) -> int:
    return sum(int(part.meta.get("set_aside", 0)) for part in manifest.parts)


def _counts_of(ingest: StageManifest) -> tuple[int, int]:
    settings: dict[str, Any] = ingest.settings
    return int(settings["document_partitions"]), int(settings["query_partitions"])


def _rows(sources: Sequence[Source], roles: Sequence[str]) -> int:
    return sum(source.rows for source in sources if source.role in roles)


def _clamped(size: int, unit: int, rows: int, most: int) -> int:
    return min(MOST, max(FEWEST, math.ceil(size / unit), math.ceil(rows / most)))
