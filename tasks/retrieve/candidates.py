"""Stage ``candidates``: the union of all sources and the labelled pairs, for each query partition.

Rows are handled as numbers: a document is its address ``partition << 40 | row`` until the distinct addresses are known,
then its place among them by id; a pair is ``query row * documents + place``, so that sorted numbers are rows in
the order of the output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.folds import Fold
from tasks.retrieve.chunk import asked_rows
from tasks.retrieve.chunk import keyed as chunk_key
from tasks.retrieve.columns import (
    NOTHING,
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
from tasks.retrieve.labelled import labelled_pairs, planted_positives
from tasks.retrieve.languages import keyed as language_key
from tasks.retrieve.languages import pairs_allowed
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


@dataclass(frozen=True)
class Others:
    """Further sources, by name.

    Args:
        retrieved: the ``retrieve-dense`` stage's parts of those that search by vectors, in the order of the document partitions.
        vectors: of these, the documents' and the queries' vectors, in the order of the partitions.
        given: parts of ``given-candidates``.
    """

    retrieved: Mapping[str, Sequence[Part]] = field(default_factory=dict)
    vectors: Mapping[str, tuple[Sequence[Part], Sequence[Part]]] = field(default_factory=dict)
    given: Mapping[str, Part] = field(default_factory=dict)


NO_OTHERS = Others()


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
    others: Others = NO_OTHERS,
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
        others: further sources.
    """
    found = {**retrieved, **others.retrieved}
    searched = [name for name in settings.sources if name in found]
    keyed: dict[str, Any] = {
        "sources": settings.sources,
        "top_k": {name: settings.depths[name] for name in searched},
        "positive_min_grade": positive_min_grade,
        "planted": round(planted * _FOLDS),
        **chunk_key(chunk),
    }
    if others.given:
        keyed["given"] = {name: settings.depths[name] for name in others.given}
    keyed |= language_key(settings.languages)
    if others.vectors:
        keyed["vectors"] = list(others.vectors)
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
                **{name: tuple(one.only(f"{part.index}.parquet") for one in found[name]) for name in searched},
                **{name: (one.only(f"{part.index}.parquet"),) for name, one in others.given.items()},
                **_other_vectors(others, place),
            },
            settings=keyed,
            units=part.file("queries.parquet").rows or 0,
        )
        for place, (part, embedded) in enumerate(zip(queries, embed_queries, strict=True))
    ]


def _other_vectors(others: Others, place: int) -> dict[str, tuple[Part, ...]]:
    """Inputs of one query partition: vectors of further sources, by which every candidate has their score."""
    made: dict[str, tuple[Part, ...]] = {}
    for name, (documents, queries) in others.vectors.items():
        made[f"{name}.document_vectors"] = tuple(part.only("vectors.npy") for part in documents)
        made[f"{name}.query_vectors"] = (queries[place].only("vectors.npy"),)
    return made


def run(work: Work, out: Output) -> None:
    """Write ``candidates.parquet``; meta: rows, positives, and how many of these each source retrieved."""
    settings = work.job.settings
    spoken = ["language"] if "languages" in settings else []
    queries = work.table("queries", "queries.parquet", ["query_id", "input_hash", *spoken])
    asked = asked_rows(work, work.job.inputs["queries"][0])
    qrels = labelled_pairs(work, queries)
    if asked is not None:
        qrels = qrels.where(np.isin(qrels.query, asked))
        out.meta["mined_queries"] = len(asked)
    found = {name: _merged(work, name, int(top_k)) for name, top_k in settings["top_k"].items()}
    if "random" in settings:
        found["random"] = _random(work, queries, asked, int(settings["random"]["count"]), int(settings["random"]["seed"]))
    given = {name: _given(work, name, int(depth), asked) for name, depth in settings.get("given", {}).items()}
    found |= {name: one.found for name, one in given.items()}
    addresses = np.unique(np.concatenate([qrels.address, *(source.address for source in found.values())]))
    wanted = ["doc_id", "input_hash", *spoken]
    texts = take_texts(work.storage, work.job.inputs["documents"], partition_of(addresses), row_of(addresses), wanted)
    by_id = pc.array_sort_indices(texts["doc_id"].combine_chunks()).to_numpy()
    place = np.empty(len(by_id), dtype=np.int64)
    place[by_id] = np.arange(len(by_id))
    places = {name: place[np.searchsorted(addresses, source.address)] for name, source in found.items()}
    ranked = {name: _cut(source, places[name], settings["top_k"].get(name)) for name, source in found.items() if name not in given}
    ranked |= {name: (one.found.query, places[name], one.found.score, one.rank) for name, one in given.items()}
    if "languages" in settings:
        languages = (queries["language"], texts.take(pa.array(by_id))["language"])
        ranked = {name: _in_languages(one, settings["languages"], *languages) for name, one in ranked.items()}
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
    products = {"dense": _dot_products(work, query, address)}
    products |= {name: _dot_products(work, query, address, f"{name}.") for name in settings.get("vectors", ())}
    for name in settings["sources"]:
        own = ranked.get(name, NOTHING)
        where = np.searchsorted(pairs, own[0] * len(addresses) + own[1])
        columns |= source_columns(name, len(pairs), where, own, products.get(name), doc)
    table = pa.table(columns).select(candidates_schema(settings["sources"]).names).cast(candidates_schema(settings["sources"]))
    out.table("candidates.parquet", table)
    out.meta.update(facts(table, settings["sources"]))
    work.report(queries.num_rows)


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


class _Given(NamedTuple):
    """What a source had already, with its own ranks."""

    found: Found
    rank: NDArray[np.int32]


def _given(work: Work, name: str, depth: int, asked: Ints | None) -> _Given:
    """The partition's candidates of a given source to its depth; NaN where it has no score."""
    table = work.table(name, work.job.inputs[name][0].files[0].name)
    keep = table["rank"].to_numpy() <= depth
    if asked is not None:
        keep &= np.isin(table["query_row"].to_numpy(), asked)
    table = table.filter(pa.array(keep)).combine_chunks()
    address = address_of(table["doc_partition"].to_numpy(), table["doc_row"].to_numpy())
    score = table["score"].to_numpy(zero_copy_only=False).astype(np.float32)
    return _Given(Found(table["query_row"].to_numpy().astype(np.int64), address, score), table["rank"].to_numpy().astype(np.int32))


def _cut(found: Found, doc: Ints, top_k: int | None) -> Ranked:
    """(query, document's place by id, score, rank), cut to the source's depth."""
    rank = ranks(found.query, found.score, doc)
    keep = rank <= (top_k if top_k is not None else len(rank))
    return found.query[keep], doc[keep], found.score[keep], rank[keep]


def _in_languages(ranked: Ranked, languages: Any, queries: pa.ChunkedArray, documents: pa.ChunkedArray) -> Ranked:
    """What a source found in the languages that its query is searched in; the searches keep to them already."""
    query, doc, score, rank = ranked
    keep = pairs_allowed(languages, queries.take(pa.array(query)).to_pylist(), documents.take(pa.array(doc)).to_pylist())
    return query[keep], doc[keep], score[keep], rank[keep]


def _dot_products(work: Work, query: Ints, address: Ints, source: str = "") -> Floats:
    """float32 dot product of the stored vectors for each pair, one document partition at a time. ``source``: whose; ``name.`` or none."""
    asked = read_array(work.storage, work.job.inputs[f"{source}query_vectors"][0].file("vectors.npy"))
    scores = np.empty(len(query), dtype=np.float32)
    order = np.argsort(address, kind="stable")
    parts = work.job.inputs[f"{source}document_vectors"]
    borders = np.searchsorted(address[order], np.arange(len(parts) + 1, dtype=np.int64) << ROW_BITS)
    block = max(1, _BLOCK_FLOATS // max(1, asked.shape[1]))
    for part, first, last in zip(parts, borders, borders[1:], strict=False):
        vectors = read_array(work.storage, part.file("vectors.npy"))
        for start in range(first, last, block):
            rows = order[start : min(start + block, last)]
            left = np.asarray(vectors[row_of(address[rows])], dtype=np.float32)
            scores[rows] = np.einsum("ij,ij->i", left, np.asarray(asked[query[rows]], dtype=np.float32))
        if not source:
            work.report(len(asked) // (len(parts) + 1))
    return scores
