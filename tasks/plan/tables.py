"""Stages that only read and write tables: seconds that are linear in rows, with rates that were measured once.

Rates: two cores of a Xeon (Sapphire Rapids), Python 3.11, pyarrow 21, DuckDB 1.5, from rounds of 50,000 to 830,000 candidates. Another
machine may take half or double; beside the models these stages are small.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from tasks.plan.models import READ
from tasks.plan.stage import StagePlan
from tasks.plan.workload import Workload

Axis = Literal["documents", "queries", "one"]
Of = Literal["documents", "text", "queries", "mined", "candidates", "pairs"]

_ROW = 20e-6  # seconds of ingest to keep one row
_PARSE = 12e-6  # seconds to parse one, where no sample says
_BYTE = 12e-9  # and one byte of it


class Rate(NamedTuple):
    """What a stage costs.

    Args:
        axis: what its partitions are of.
        fixed: seconds a partition.
        of: what it is linear in.
        seconds: for one of these.
        bytes: written for one of these.
        memory: held for one of these, of one partition's share.
    """

    axis: Axis
    fixed: float
    of: Of
    seconds: float
    bytes: float = 0.0
    memory: float = 0.0


CORPUS = {
    "documents": Rate("documents", 0.02, "text", 85e-9, 0.45, 6),
    "query-groups": Rate("one", 0.05, "queries", 10e-6, 1, 1000),
    "queries": Rate("queries", 0.02, "queries", 12e-6, 150, 2000),
}
TABLE = {
    "calibrate": Rate("one", 0.25, "pairs", 5e-6, 0.1, 200),
    "scored": Rate("queries", 0.03, "candidates", 2e-6, 20, 400),
}
FEATURES = {
    "signatures": Rate("documents", 0.02, "text", 150e-9, 0.3, 6),
    "feature-containment": Rate("queries", 0.015, "candidates", 0.8e-6, 1, 200),
    "feature-positive-score": Rate("queries", 0.02, "candidates", 2.6e-6, 6, 200),
    "feature-clusters-documents": Rate("one", 0.8, "documents", 40e-6, 0.1, 2000),
    "feature-clusters-queries": Rate("one", 0.4, "queries", 40e-6, 0.1, 2000),
    "feature-clusters": Rate("queries", 0.02, "candidates", 0.6e-6, 1, 200),
    "feature-answers": Rate("queries", 0.02, "candidates", 0.1e-6, 0.1, 200),
    "feature-context": Rate("queries", 0.02, "candidates", 0.3e-6, 2, 200),
    "feature-duplicates-clusters": Rate("one", 0.02, "documents", 6e-6, 8, 600),
    "feature-duplicates": Rate("queries", 0.01, "candidates", 0.15e-6, 2, 100),
    "feature-size": Rate("queries", 0.02, "candidates", 0.3e-6, 2, 100),
    "label-means": Rate("one", 0.03, "queries", 0.0, 0, 1600),
    "label-stars": Rate("documents", 0.02, "documents", 20e-6, 1550, 3200),
    "feature-evidence": Rate("queries", 0.02, "candidates", 2.8e-6, 5.4, 300),
    "feature-rank-weights-fit": Rate("one", 0.02, "queries", 0.0),
    "feature-rank-weights": Rate("queries", 0.01, "candidates", 0.05e-6, 1, 50),
}
SELECTION = {
    "select": Rate("queries", 0.07, "candidates", 2e-6, 7, 500),
    "gate": Rate("queries", 0.1, "candidates", 2.7e-6, 0, 300),
    "probe": Rate("queries", 0.07, "candidates", 0.3e-6, 0.2, 300),
    "measure": Rate("one", 0.3, "candidates", 0.8e-6, 0.1, 100),
}
SHARDS = Rate("queries", 0.08, "mined", 150e-6)


def ingest(work: Workload) -> StagePlan:
    """Stage ``ingest``: one part a source file, so no second worker helps with a single file. Text is spilled to disk in between."""
    rows = work.documents + work.queries + work.positives
    size = work.text_bytes + work.queries * work.query_bytes
    read = work.read_seconds if work.read_seconds is not None else _PARSE * rows + _BYTE * size
    return StagePlan(
        stage="ingest",
        partitions=work.sources,
        units=rows,
        unit="rows",
        seconds=read + _ROW * rows + 0.05 * work.sources,
        bytes=round(0.45 * size),
        memory=200 << 20 if size > 64 << 20 else round(6 * size),
    )


def corpus(work: Workload) -> list[StagePlan]:
    """Stages ``documents``, ``query-groups`` and ``queries``."""
    return [_linear(work, name, rate) for name, rate in CORPUS.items()]


def after_scoring(work: Workload) -> list[StagePlan]:
    """Stages ``calibrate`` (with a teacher that scores all candidates) and ``scored``."""
    calibrated = work.depth.teacher > 0 and not work.lazy
    return [_linear(work, name, rate) for name, rate in TABLE.items() if name != "calibrate" or calibrated]


def selections(work: Workload) -> Iterator[StagePlan]:
    """Each recipe's stages; a feature that several recipes ask for is made once.

    Shards read the texts of every document partition in each query partition.
    """
    asked = dict.fromkeys(stage for recipe in work.recipes for stage in recipe)
    yield from (_linear(work, name, FEATURES[name]) for name in asked if name in FEATURES)
    recipes = len(work.recipes)
    for name, rate in SELECTION.items():
        if name != "probe" or work.planted:
            yield _linear(work, name, rate, recipes)
    written = _linear(work, "shards", SHARDS, recipes * work.formats)
    text = work.mined * (work.num_negatives + 1) * work.document_bytes
    update = {
        "seconds": written.seconds + recipes * work.formats * work.query_partitions * READ * work.text_bytes,
        "bytes": round(0.5 * text * recipes * work.formats),
        "memory": round(4 * text / work.query_partitions + 2 * work.per_partition(work.text_bytes)),
    }
    yield written.model_copy(update=update)


def _linear(work: Workload, name: str, rate: Rate, times: int = 1) -> StagePlan:
    parts = {"documents": work.document_partitions, "queries": work.query_partitions, "one": 1}[rate.axis]
    count = {
        "documents": work.documents,
        "text": work.text_bytes,
        "queries": work.queries,
        "mined": work.mined,
        "candidates": work.candidate_count,
        "pairs": work.pair_count,
    }[rate.of]
    return StagePlan(
        stage=name,
        partitions=parts * times,
        units=(work.documents if rate.of == "text" else count) * times,
        unit="documents" if rate.of == "text" else "queries" if rate.of == "mined" else rate.of,
        seconds=times * (parts * rate.fixed + count * rate.seconds),
        bytes=round(times * count * rate.bytes),
        memory=round(rate.memory * count / parts),
    )
