"""What feature stages share: what they may read, one job a part of the scored table, the file that they write.

The last stage of each feature writes, for each part of ``scored``, a ``features.parquet`` whose rows are those of
``scored.parquet``, in its order, and whose columns are :data:`tasks.schema.OPTIONAL_FEATURES` of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.folds import Fold
from tasks.groups import Groups
from tasks.runner.stage import Job, Stage, Work
from tasks.schema import OPTIONAL_FEATURES, PROMOTED
from tasks.store.manifest import FileRecord, Part, StageManifest
from tasks.store.output import Output
from tasks.store.storage import Storage
from tasks.store.tables import local_file

Call = Callable[[Stage, Sequence[Job]], StageManifest]

#: the columns by which a candidate's group and document are found
PLACES = ["query_row", "doc_partition", "doc_row", "is_positive"]


@dataclass(frozen=True)
class Beyond:
    """The labels of queries that a round left out: they count as labels all the same.

    Args:
        chunk: the queries that were mined.
        positive_min_grade: least relevance of a positive.
    """

    chunk: Fold
    positive_min_grade: int


@dataclass(frozen=True)
class FeatureInputs:
    """The committed parts that features are made from.

    Args:
        scored: parts of ``scored``, by query partition.
        queries: parts of ``queries`` with ``queries.parquet``, in the same order.
        documents: parts of ``documents`` with ``docs.parquet``, by document partition: ``doc_partition`` counts them from 0.
        document_vectors: parts of the retriever's ``embed-documents``, in the order of ``documents``.
        query_vectors: parts of the retriever's ``embed-queries``, in the order of ``queries``.
        sources: the round's sources.
        beyond: labels of queries that are not in the scored table; none: all are.
    """

    scored: Sequence[Part]
    queries: Sequence[Part]
    documents: Sequence[Part]
    document_vectors: Sequence[Part]
    query_vectors: Sequence[Part]
    sources: Sequence[str]
    beyond: Beyond | None = None


def only(parts: Sequence[Part], name: str) -> tuple[Part, ...]:
    """The parts reduced to one of their files, so that a job's key depends on that alone."""
    return tuple(part.only(name) for part in parts)


def rows(parts: Sequence[Part], name: str) -> int:
    """Rows of one file in all parts."""
    return sum(part.file(name).rows or 0 for part in parts)


def row_jobs(
    scored: Sequence[Part],
    shared: Mapping[str, tuple[Part, ...]],
    beside: Mapping[str, Sequence[Part]] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> list[Job]:
    """One job a part of the scored table.

    Args:
        scored: parts of ``scored``.
        shared: what each job reads whole, by role.
        beside: what is partitioned as ``scored`` is, by role: each job reads one part of it.
        settings: of all jobs.

    Raises:
        ValueError: a role of ``beside`` has not one part for each of ``scored``.
    """
    beside = beside or {}
    for role, parts in beside.items():
        if len(parts) != len(scored):
            raise ValueError(f"{role}: {len(parts)} parts beside {len(scored)} of the scored table")
    return [
        Job(
            index=part.index,
            inputs={"scored": (part.only("scored.parquet"),), **shared, **{role: (parts[place],) for role, parts in beside.items()}},
            settings=settings or {},
            units=part.file("scored.parquet").rows or 0,
        )
        for place, part in enumerate(scored)
    ]


def groups_of(table: pa.Table) -> Groups:
    """Candidates by query, from :data:`PLACES`."""
    return Groups(table["query_row"].to_numpy(), table["is_positive"].to_numpy())


def label_columns(storage: Storage, record: FileRecord) -> list[str]:
    """:data:`PLACES` and, but for rounds from before labels had one, their provenance."""
    names = pq.read_schema(local_file(storage, record)).names
    return [*PLACES, *(["provenance"] if "provenance" in names else [])]


def unpromoted(table: pa.Table) -> pa.ChunkedArray:
    """Which candidates are positives by people's labels, from :func:`label_columns`."""
    if "provenance" not in table.column_names:
        return table["is_positive"]
    return pc.and_(table["is_positive"], pc.fill_null(pc.not_equal(table["provenance"], PROMOTED), True))


def write_features(work: Work, out: Output, name: str, columns: Mapping[str, Any]) -> None:
    """Write ``features.parquet`` with the columns that feature ``name`` promises, and count that no model ran."""
    schema = pa.schema(OPTIONAL_FEATURES[name])
    table = pa.table(dict(columns)).select(schema.names).cast(schema)
    out.table("features.parquet", table)
    out.count(model_calls=0)
    work.report(table.num_rows)
