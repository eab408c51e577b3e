"""Stage ``evaluate``: a checkpoint's vectors against the judgements of one split's queries."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from tasks.errors import UsageError
from tasks.evaluate.judgements import Judgements
from tasks.evaluate.measures import check_measures
from tasks.evaluate.settings import EvaluateSettings
from tasks.runner.stage import Job, Stage
from tasks.store.manifest import Part

STAGE = Stage(name="evaluate", version=3, function="tasks.evaluate.run:run", unit="documents")

METRICS = pa.schema(
    [
        ("query_id", pa.string()),
        ("measure", pa.string()),  # as the settings name it
        ("value", pa.float64()),
    ]
)


#: means by slice of the queries, slice ``all`` first
SLICES = pa.schema(
    [
        ("slice", pa.string()),  # all, dataset, language, length, positives, difficulty
        ("value_of_slice", pa.string()),  # empty for all
        ("measure", pa.string()),
        ("mean", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("queries", pa.int64()),
        ("small", pa.bool_()),  # fewer than 30 queries
    ]
)


def jobs(
    queries: Sequence[Part],
    documents: Sequence[Part],
    query_vectors: Sequence[Part],
    document_vectors: Sequence[Part],
    settings: EvaluateSettings,
    positive_min_grade: int = 1,
    judgements: Judgements | None = None,
    scored: Sequence[Part] = (),
    dataset: str = "",
) -> list[Job]:
    """One job, named after the split; units are documents.

    Args:
        queries: parts with queries.parquet and qrels.parquet.
        documents: parts with docs.parquet, in order.
        query_vectors: parts of ``embed-queries``, in the order of ``queries``.
        document_vectors: parts of ``embed-documents``, in the order of ``documents``.
        settings: split, measures, depth.
        positive_min_grade: judgements from this grade on count, with their grade.
        judgements: in the place of the dataset's own labels.
        scored: parts with scored.parquet: the rank of a query's best positive there is its difficulty, the same for every checkpoint; none:
            no such slice.
        dataset: its name, a slice of its own; none: no such slice.

    Raises:
        UsageError: a measure is unknown, or vectors and tables do not belong together.
    """
    check_measures(settings.measures, settings.depth)
    for parts, vectors in ((queries, query_vectors), (documents, document_vectors)):
        if [part.index for part in parts] != [part.index for part in vectors]:
            raise UsageError("evaluate: the vectors are not of these partitions", "embed the same dataset version")
    inputs = {
        "queries": tuple(part.only("queries.parquet", "qrels.parquet") for part in queries),
        "documents": tuple(part.only("docs.parquet") for part in documents),
        "query_vectors": tuple(part.only("vectors.npy") for part in query_vectors),
        "document_vectors": tuple(part.only("vectors.npy") for part in document_vectors),
    }
    if scored:
        inputs["scored"] = tuple(part.only("scored.parquet") for part in scored)
    keyed = {**settings.keyed(), "positive_min_grade": positive_min_grade, "dataset": dataset}
    options = {}
    if judgements is not None:
        keyed["judgements"] = judgements.checksum
        options["judgements"] = judgements.model_dump(mode="json")
    units = sum(part.file("docs.parquet").rows or 0 for part in documents)
    return [Job(index=settings.split, inputs=inputs, settings=keyed, options=options, units=max(1, units))]
