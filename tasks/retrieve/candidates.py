"""Stage ``candidates``: the union of all sources and the labelled pairs, for each query partition.

Rows are handled as numbers: a document is its address ``partition << 40 | row`` until the distinct addresses are known,
then its place among them by id; a pair is ``query row * documents + place``, so that sorted numbers are rows in
the order of the output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.errors import InputError
from tasks.folds import Fold
from tasks.retrieve.chunk import asked_rows
from tasks.retrieve.chunk import keyed as chunk_key
from tasks.retrieve.columns import (
    ROW_BITS,
    Floats,
    Ints,
    Ranked,
    address_of,
    base_columns,
    facts,
    inverse,
    label_columns,
    partition_of,
    row_of,
    source_columns,
)
from tasks.retrieve.random_documents import draw
from tasks.retrieve.ranking import keep_best, ranks
from tasks.retrieve.settings import RetrieveSettings
from tasks.runner.stage import Job, Stage, Work
from tasks.schema import candidates as candidates_schema
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.tables import read_array, take_texts

STAGE = Stage(name="candidates", version=2, function="tasks.retrieve.candidates:run", unit="queries")

_FOLDS = 100
_MERGE_ROWS = 4_000_000
_BLOCK_FLOATS = 1 << 22


@dataclass(frozen=True)
class Found:
    """What one source found: (n,) query rows, document addresses, scores."""

    query: Ints
    address: Ints
    score: Floats

    def where(self, keep: NDArray[np.bool_]) -> Found:
        """Some of the rows."""
        return Found(self.query[keep], self.address[keep], self.score[keep])


def jobs(
    settings: RetrieveSettings,
    documents: Sequence[Part],
    queries: Sequence[Part],
    embed_documents: Sequence[Part],
    embed_queries: Sequence[Part],
    retrieved: Mapping[str, Sequence[Part]],
    positive_min_grade: int,
    seed: int,
    planted: float = 0.0,
    chunk: Fold | None = None,
) -> list[Job]:
    """One job a query partition.

    Args:
        settings: which sources, and how deep each is cut.
        documents: parts of ``documents``.
        queries: parts of ``queries``.
        embed_documents: parts of ``embed-documents``, in the order of ``documents``.
        embed_queries: parts of ``embed-queries``, in the order of ``queries``.
        retrieved: the ``retrieve-*`` stage's parts by source (``dense``, ``bm25``), in the order of ``documents``.
        positive_min_grade: least relevance of a positive.
        seed: of the random source.
        planted: share of the positives, of queries that have two or more, that are hidden as probes.
        chunk: the queries that have candidates; none: all.
    """
    depths = {"dense": settings.dense.top_k, "bm25": settings.bm25.top_k if settings.bm25 else 0}
    searched = [name for name in settings.sources if name != "random"]
    keyed: dict[str, Any] = {
        "sources": settings.sources,
        "top_k": {name: depths[name] for name in searched},
        "positive_min_grade": positive_min_grade,
        "planted": round(planted * _FOLDS),
        **chunk_key(chunk),
    }
    if settings.random:
        keyed["random"] = {"count": settings.random.count, "seed": seed}
    texts = tuple(part.only("docs.parquet") for part in documents)
    vectors = tuple(part.only("vectors.npy") for part in embed_documents)
    return [
        Job(
            index=part.index,
            inputs={
                "queries": (part.only("queries.parquet", "qrels.parquet"),),
                "query_vectors": (embedded.only("vectors.npy"),),
                "documents": texts,
                "document_vectors": vectors,
                **{name: tuple(found.only(f"{part.index}.parquet") for found in retrieved[name]) for name in searched},
            },
            settings=keyed,
            units=part.file("queries.parquet").rows or 0,
        )
        for part, embedded in zip(queries, embed_queries, strict=True)
    ]


def run(work: Work, out: Output) -> None:
    """Write ``candidates.parquet``; meta: rows, positives, and how many of these each source retrieved."""
    settings = work.job.settings
    queries = work.table("queries", "queries.parquet", ["query_id", "input_hash"])
    asked = asked_rows(work, work.job.inputs["queries"][0])
    qrels = _labelled(work, queries)
    if asked is not None:
        qrels = qrels.where(np.isin(qrels.query, asked))
        out.meta["mined_queries"] = len(asked)
    found = {name: _merged(work, name, int(top_k)) for name, top_k in settings["top_k"].items()}
    if "random" in settings:
        found["random"] = _random(work, queries, asked, int(settings["random"]["count"]), int(settings["random"]["seed"]))
    addresses = np.unique(np.concatenate([qrels.address, *(source.address for source in found.values())]))
    texts = take_texts(work.storage, work.job.inputs["documents"], partition_of(addresses), row_of(addresses), ["doc_id", "input_hash"])
    by_id = pc.array_sort_indices(texts["doc_id"].combine_chunks()).to_numpy()
    place = np.empty(len(by_id), dtype=np.int64)
    place[by_id] = np.arange(len(by_id))
    ranked = {
        name: _cut(source, place[np.searchsorted(addresses, source.address)], settings["top_k"].get(name)) for name, source in found.items()
    }
    labelled = qrels.query * len(addresses) + place[np.searchsorted(addresses, qrels.address)]
    pairs = np.unique(np.concatenate([labelled, *(query * len(addresses) + doc for query, doc, _, _ in ranked.values())]))
    query, doc = np.divmod(pairs, max(len(addresses), 1))
    address = addresses[by_id][doc]
    columns = base_columns(queries, texts.take(pa.array(by_id)), query, doc, address)
    positive = qrels.relevance >= int(settings["positive_min_grade"])
    hidden = planted_positives(qrels.query, positive & qrels.own, qrels.fold, int(settings["planted"]))
    where = np.searchsorted(pairs, labelled)
    columns |= label_columns(len(pairs), where, qrels.relevance, positive & ~hidden, hidden)
    columns["provenance"] = qrels.provenance.take(inverse(len(pairs), where))
    dense_score = _dot_products(work, query, address)
    for name in settings["sources"]:
        where = np.searchsorted(pairs, ranked[name][0] * len(addresses) + ranked[name][1])
        columns |= source_columns(name, len(pairs), where, ranked[name], dense_score, doc)
    table = pa.table(columns).select(candidates_schema(settings["sources"]).names).cast(candidates_schema(settings["sources"]))
    out.table("candidates.parquet", table)
    out.meta.update(facts(table, settings["sources"]))
    work.report(queries.num_rows)


class Judged(NamedTuple):
    """Judged pairs of one query partition."""

    query: Ints  # row of the query
    address: Ints  # of the document
    relevance: Ints
    fold: Ints  # 0 … 99
    provenance: pa.ChunkedArray  # NULL: the source's own

    def where(self, keep: NDArray[np.bool_]) -> Judged:
        """Some of the pairs."""
        return Judged(self.query[keep], self.address[keep], self.relevance[keep], self.fold[keep], self.provenance.filter(pa.array(keep)))

    @property
    def own(self) -> NDArray[np.bool_]:
        """Labels of the source: others were found by what the pipeline emitted or scored, and would be no fair probes of it."""
        return np.asarray(self.provenance.is_null().to_numpy(), dtype=bool)


def planted_positives(query: Ints, positive: NDArray[np.bool_], fold: Ints, below: int) -> NDArray[np.bool_]:
    """Which positives are hidden as probes: those in the first folds, of queries that keep at least one such positive.

    Args:
        query: (n,) query of each judged pair.
        positive: (n,) whether it is relevant by a label of the source: reviewed and promoted positives are never probes.
        fold: (n,) 0 … 99, by hash.
        below: folds under this are hidden; of a query whose positives all lie there, the one in the last fold stays (the first of several).
    """
    hidden = positive & (fold < below)
    order = np.lexsort((np.arange(len(query)), -fold, ~positive, query))
    first = order[np.unique(query[order], return_index=True)[1]]  # the positive in the last fold, of each query that has one
    hidden[first] = False
    return hidden


def _labelled(work: Work, queries: pa.Table) -> Judged:
    """The partition's judged pairs."""
    qrels = work.table("queries", "qrels.parquet", ["query_id", "relevance", "fold", "doc_partition", "doc_row", "provenance"])
    row = pc.index_in(qrels["query_id"], value_set=queries["query_id"].combine_chunks())
    if row.null_count:
        raise InputError(f"{row.null_count} judged pairs name queries that are not in their partition", "ingest the dataset again")
    address = address_of(qrels["doc_partition"].to_numpy(), qrels["doc_row"].to_numpy())
    relevance, fold = (qrels[name].to_numpy().astype(np.int64) for name in ("relevance", "fold"))
    return Judged(row.to_numpy().astype(np.int64), address, relevance, fold, qrels["provenance"])


def _merged(work: Work, source: str, top_k: int) -> Found:
    """The best of all document partitions; ties at the border are all there, memory is bounded by what is kept."""
    kept: list[Found] = []
    for partition, part in enumerate(work.job.inputs[source]):
        table = work.part_table(part, part.files[0].name)
        rows = table["doc_row"].to_numpy()
        address = address_of(np.full(len(rows), partition, dtype=np.int64), rows)
        kept.append(Found(table["query_row"].to_numpy(), address, table["score"].to_numpy()))
        if sum(len(found.query) for found in kept) > _MERGE_ROWS:
            kept = [_best(kept, top_k)]
    return _best(kept, top_k)


def _best(pieces: Sequence[Found], top_k: int) -> Found:
    found = Found(*(np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("query", "address", "score")))
    return found.where(keep_best(found.query, found.score, top_k))


def _random(work: Work, queries: pa.Table, asked: Ints | None, count: int, seed: int) -> Found:
    """Documents drawn over all partitions, numbered in the partitions' order: another partition count draws others.

    The score is the negated place in the draw, for the rank only.
    """
    ends = np.cumsum([part.file("docs.parquet").rows or 0 for part in work.job.inputs["documents"]])
    rows = np.arange(queries.num_rows, dtype=np.int64) if asked is None else asked
    drawn = draw(queries["query_id"].take(pa.array(rows)).to_pylist(), int(ends[-1]), count, seed)
    number = drawn.ravel()
    partition = np.searchsorted(ends, number, side="right")
    address = address_of(partition, number - np.concatenate([[0], ends])[partition])
    query = np.repeat(rows, drawn.shape[1])
    return Found(query, address, np.tile(-np.arange(drawn.shape[1], dtype=np.float32), len(drawn)))


def _cut(found: Found, doc: Ints, top_k: int | None) -> Ranked:
    """(query, document's place by id, score, rank), cut to the source's depth."""
    rank = ranks(found.query, found.score, doc)
    keep = rank <= (top_k if top_k is not None else len(rank))
    return found.query[keep], doc[keep], found.score[keep], rank[keep]


def _dot_products(work: Work, query: Ints, address: Ints) -> Floats:
    """float32 dot product of the stored vectors for each pair, one document partition at a time."""
    asked = read_array(work.storage, work.job.inputs["query_vectors"][0].file("vectors.npy"))
    scores = np.empty(len(query), dtype=np.float32)
    order = np.argsort(address, kind="stable")
    parts = work.job.inputs["document_vectors"]
    borders = np.searchsorted(address[order], np.arange(len(parts) + 1, dtype=np.int64) << ROW_BITS)
    block = max(1, _BLOCK_FLOATS // max(1, asked.shape[1]))
    for part, first, last in zip(parts, borders, borders[1:], strict=False):
        vectors = read_array(work.storage, part.file("vectors.npy"))
        for start in range(first, last, block):
            rows = order[start : min(start + block, last)]
            left = np.asarray(vectors[row_of(address[rows])], dtype=np.float32)
            scores[rows] = np.einsum("ij,ij->i", left, np.asarray(asked[query[rows]], dtype=np.float32))
        work.report(len(asked) // (len(parts) + 1))
    return scores
