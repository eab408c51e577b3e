"""What is to be done: counts, sizes and lengths that the formulas of a plan start from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

OVERLAP = 1 / 3  # of the shallower of two sources' lists: what the deeper one has too (measured: 0.18 to 0.41)
OUTSIDE = 0.2  # of the labelled positives: those that no source ranks within the depth (measured: 0.02 to 0.4)


def no_lengths() -> Ints:
    """No sampled lengths."""
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Inputs:
    """What one model is given.

    Args:
        lengths: tokens of a sample of the inputs, after truncation, int64, shape (s,).
        budget: tokens a batch.
        limit: the model's greatest length.
        known: share of the inputs whose result is stored already, 0 to 1; ``None``: nobody knows before the run.
    """

    lengths: Ints = field(default_factory=no_lengths)
    budget: int = 1024
    limit: int = 256
    known: float | None = 0.0

    @property
    def to_run(self) -> float:
        """Share of the inputs that the model is run on; what is unknown is run."""
        return 1.0 - (self.known or 0.0)

    @property
    def mean(self) -> float:
        """Tokens of one input, without padding; 0 where nothing was sampled."""
        return float(self.lengths.mean()) if len(self.lengths) else 0.0


@dataclass(frozen=True)
class Depth:
    """Ranks that are mined and scored; 0: that source, or the teacher, is off."""

    dense: int
    bm25: int = 0
    random: int = 0
    teacher: int = 0


@dataclass(frozen=True)
class Index:
    """The dense index. ``nlist``: clusters, 0 for exact search; ``nprobe``: searched; ``code_bytes``: of one dimension in the index."""

    nlist: int = 0
    nprobe: int = 0
    code_bytes: int = 4
    sampled: int = 200  # queries on which recall is measured


@dataclass(frozen=True)
class Training:
    """A teacher that the run trains; lengths are those of its training pairs."""

    inputs: Inputs
    epochs: int
    pairs_per_positive: int  # the positive itself, sampled and random negatives
    max_pairs: int
    holdout: float
    folds: int | None  # None: 3 where that is cheap against the scoring
    model_bytes: int


@dataclass(frozen=True)
class Workload:
    """One round of one dataset.

    Args:
        documents: in the corpus.
        queries: that are mined.
        positives: labelled pairs of them.
        document_bytes: mean text of a document, title included, UTF-8.
        query_bytes: mean text of a query.
        document_partitions: of the dataset.
        query_partitions: of the dataset.
        sources: files that are read, each by one worker.
        depth: ranks.
        index: dense index of one partition.
        dim: dimensions of a vector.
        vector_bytes: of one dimension as it is stored, 4 or 2.
        embedded: documents as the retriever is given them.
        asked: queries as the retriever is given them.
        fixed: documents and queries as a fixed encoder is given them, where there is one.
        scored: pairs as the teacher is given them.
        training: of the teacher, where the run trains one.
        read_seconds: to read and parse all sources, as a sample of them took; ``None``: not sampled.
        candidates: exact, where they are there already.
        pairs: to be scored, exact, where the candidates are there already.
        pairs_per_partition: of stage ``score``.
        lazy: whether the teacher is asked for no more than the recipes need; ``pairs`` are then the most that it may be.
        recipes: for each recipe, the feature stages that it asks for.
        formats: training formats.
        num_negatives: a query.
        planted: whether positives are hidden as probes.
        chunks: parts of the queries of which one is mined; all others are embedded only.
    """

    documents: int
    queries: int
    positives: int
    document_bytes: float
    query_bytes: float
    document_partitions: int
    query_partitions: int
    depth: Depth
    dim: int
    embedded: Inputs
    asked: Inputs
    sources: int = 3
    index: Index = Index()
    fixed: tuple[Inputs, Inputs] | None = None
    vector_bytes: int = 4
    scored: Inputs | None = None
    training: Training | None = None
    read_seconds: float | None = None
    candidates: int | None = None
    pairs: int | None = None
    pairs_per_partition: int = 20_000
    lazy: bool = False
    recipes: tuple[tuple[str, ...], ...] = ((),)
    formats: int = 1
    num_negatives: int = 5
    planted: bool = False
    chunks: int = 1

    @property
    def mined(self) -> int:
        """Queries that are searched for."""
        return -(-self.queries // self.chunks)

    @property
    def candidate_count(self) -> int:
        """Rows of the candidate table: exact, or :func:`union` of the sources and the positives beyond them."""
        if self.candidates is not None:
            return self.candidates
        found = union(self.documents, self.depth.dense, self.depth.bm25) + min(self.documents, self.depth.random)
        return self.mined * found + self._outside

    @property
    def pair_count(self) -> int:
        """Pairs that the teacher scores: those that dense or BM25 search ranks within its depth, and the positives beyond."""
        if self.depth.teacher == 0:
            return 0
        if self.pairs is not None:
            return self.pairs
        dense, bm25 = min(self.depth.teacher, self.depth.dense), min(self.depth.teacher, self.depth.bm25)
        return self.mined * union(self.documents, dense, bm25) + self._outside

    @property
    def _outside(self) -> int:
        return math.ceil(OUTSIDE * self.positives / self.chunks)

    @property
    def text_bytes(self) -> int:
        """Text of all documents."""
        return round(self.documents * self.document_bytes)

    def per_partition(self, count: int) -> int:
        """Documents of a partition, where ``count`` are spread over all."""
        return -(-count // self.document_partitions)


def union(documents: int, first: int, second: int) -> int:
    """Different documents in two ranked lists of a query: a third of the shorter one is in the other; no more than there are.

    >>> union(1_000_000, 100, 50), union(1_000_000, 30, 0), union(90, 100, 50)
    (133, 30, 90)
    """
    both = round(OVERLAP * min(first, second))
    return min(documents, first + second - both)
