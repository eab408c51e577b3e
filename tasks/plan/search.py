"""Stages that search: dense vectors, words, and the union of both."""

from __future__ import annotations

from tasks.plan.speeds import Speeds
from tasks.plan.stage import StagePlan
from tasks.plan.workload import Workload

_PART = 0.02  # seconds of a partition, whatever is in it
_HIT = 7  # bytes of a retrieved row
_CANDIDATE = 17  # bytes of a candidate's row, and of each source's rank and score
_KMEANS = 10  # iterations
_TRAINED = 64  # vectors for each cluster
_SAMPLE_FLOATS = 1 << 27  # of the vectors that clusters are trained on
_REFINED = 2  # times the depth, of an ivf index' candidates
_WORDS = 130e-9  # seconds to tokenise and index a byte of text by words
_LOOK = 80e-6  # seconds of one BM25 search, however small the partition
_ROW = 6e-9  # seconds for each document of the partition in one BM25 search
_MERGED = 60e-9  # seconds to merge one retrieved row
_MADE = 4.3e-6  # seconds to make one candidate
_ID = 20e-9  # seconds to read one document's id and hash


def dense(work: Workload, speeds: Speeds) -> list[StagePlan]:
    """Stage ``retrieve-dense``: each document partition is searched for every query; before it ``dense-clusters``, for an ivf index.

    Exact: 2 · documents · queries · dimensions operations. With clusters: each partition is assigned to them (rows · nlist) and searched
    exactly for 200 queries, to measure recall; then for each query the nlist centroids, and nprobe / nlist of the rows at the slower
    speed of scanning. Every partition writes its own ``top_k``: rows and bytes grow with queries · partitions. Memory: the partition as
    stored (mapped) and in the index, all query vectors, one query partition's hits.
    """
    parts, rows, index = work.document_partitions, work.per_partition(work.documents), work.index
    hits = work.mined * min(work.depth.dense, rows)
    flops = 2 * work.dim
    if index.nlist == 0:
        seconds = flops * work.documents * work.mined / speeds.product
    else:
        looked = (rows + work.mined) * index.nlist + min(index.sampled, work.mined) * rows + _REFINED * hits
        scanned = work.mined * rows * index.nprobe / index.nlist
        seconds = parts * flops * (looked / speeds.product + scanned / speeds.scan)
    found = StagePlan(
        stage="retrieve-dense",
        partitions=parts,
        units=work.mined * parts,
        unit="searches",
        seconds=seconds + parts * _PART + _MERGED * hits * parts,
        bytes=hits * parts * _HIT,
        memory=rows * work.dim * (index.code_bytes + work.vector_bytes) + work.queries * work.dim * 4 + 12 * hits // work.query_partitions,
    )
    return [*([_clusters(work, speeds)] if index.nlist else []), found]


def _clusters(work: Workload, speeds: Speeds) -> StagePlan:
    """Stage ``dense-clusters``: 10 rounds of k-means over 64 · nlist vectors, half a gigabyte at most; 200 queries against all."""
    nlist = work.index.nlist
    sampled = min(work.documents, max(nlist, min(nlist * _TRAINED, _SAMPLE_FLOATS // work.dim)))
    return StagePlan(
        stage="dense-clusters",
        partitions=1,
        units=work.documents,
        unit="documents",
        seconds=2 * work.dim * (sampled * nlist * _KMEANS + min(work.index.sampled, work.mined) * work.documents) / speeds.product + _PART,
        bytes=4 * nlist * work.dim,
        memory=4 * work.dim * (2 * sampled + nlist),
    )


def bm25(work: Workload) -> list[StagePlan]:
    """Stages ``bm25-statistics`` and ``retrieve-bm25``: both read all text; a search looks at every document of its partition."""
    parts, rows = work.document_partitions, work.per_partition(work.documents)
    hits = work.mined * min(work.depth.bm25, rows)
    reading = _WORDS * work.text_bytes + parts * _PART
    partition = work.per_partition(work.text_bytes)
    return [
        StagePlan(
            stage="bm25-statistics",
            partitions=parts,
            units=work.documents,
            unit="documents",
            seconds=reading,
            bytes=round(4 * work.documents + 0.17 * work.text_bytes),
            memory=4 * partition,
        ),
        StagePlan(
            stage="retrieve-bm25",
            partitions=parts,
            units=work.mined * parts,
            unit="searches",
            seconds=reading + work.mined * parts * (_LOOK + _ROW * rows),
            bytes=hits * parts * _HIT,
            memory=6 * partition + hits * 24,
        ),
    ]


def candidates(work: Workload) -> StagePlan:
    """Stage ``candidates``: each query partition merges the hits of all document partitions and reads ids of all documents.

    Memory: the hits of one query partition, at most 4 million at a time, and its candidates.
    """
    sources = 1 + bool(work.depth.bm25) + bool(work.depth.random)
    rows = work.per_partition(work.documents)
    hits = work.mined * work.document_partitions * (min(work.depth.dense, rows) + min(work.depth.bm25, rows))
    each = -(-work.candidate_count // work.query_partitions)
    return StagePlan(
        stage="candidates",
        partitions=work.query_partitions,
        units=work.mined,
        unit="queries",
        seconds=_MADE * work.candidate_count + _MERGED * hits + work.query_partitions * (_PART + _ID * work.documents),
        bytes=work.candidate_count * (_CANDIDATE + 3 * (sources - 1)),
        memory=20 * min(4_000_000, -(-hits // work.query_partitions)) + 250 * each + 100 * rows,
    )
