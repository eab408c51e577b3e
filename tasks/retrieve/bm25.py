"""Stages ``bm25-statistics`` and ``retrieve-bm25``: sums over the whole corpus first, then each partition is searched with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.folds import Fold
from tasks.retrieve.chunk import asked_rows, expected, keyed
from tasks.retrieve.languages import Languages, pairs_allowed
from tasks.retrieve.languages import keyed as language_key
from tasks.retrieve.ranking import retrieved
from tasks.retrieve.settings import Bm25Settings
from tasks.runner.stage import Job, Stage, Work
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.tables import read_array

if TYPE_CHECKING:
    from tasks.retrieve.bm25_index import Postings, Statistics, Tokens

STATISTICS_STAGE = Stage(name="bm25-statistics", version=1, function="tasks.retrieve.bm25:run_statistics", unit="documents")
STAGE = Stage(name="retrieve-bm25", version=1, function="tasks.retrieve.bm25:run", unit="searches")

_DOCUMENTS = 2048
_REPORT_EVERY = 64
_TOKENISING = ("stopwords", "stemmer")

Ints = NDArray[np.int64]


def statistics_jobs(settings: Bm25Settings, documents: Sequence[Part]) -> list[Job]:
    """One job a document partition. Only how texts are tokenised is in the key."""
    tokenising = {name: getattr(settings, name) for name in _TOKENISING}
    return [
        Job(
            index=part.index,
            inputs={"documents": (part.only("docs.parquet"),)},
            settings=tokenising,
            units=part.file("docs.parquet").rows or 0,
        )
        for part in documents
    ]


def jobs(
    settings: Bm25Settings,
    documents: Sequence[Part],
    statistics: Sequence[Part],
    queries: Sequence[Part],
    chunk: Fold | None = None,
    languages: Languages = "any",
) -> list[Job]:
    """One job a document partition; a unit is one query searched in one partition. Of a ``chunk``, only its queries are searched for.

    ``languages``: that each query is searched in.
    """
    asked = tuple(part.only("queries.parquet") for part in queries)
    units = sum(part.file("queries.parquet").rows or 0 for part in asked)
    inputs = {"statistics": tuple(statistics), "queries": asked}
    return [
        Job(
            index=part.index,
            inputs={"documents": (part.only("docs.parquet"),), **inputs},
            settings={**settings.model_dump(mode="json"), **keyed(chunk), **language_key(languages)},
            units=expected(units, chunk),
        )
        for part in documents
    ]


def run_statistics(work: Work, out: Output) -> None:
    """Write ``terms.parquet`` (term, documents: in how many it occurs; by term) and ``lengths.npy`` (int32, tokens of each document)."""
    from tasks.retrieve.bm25_index import postings

    settings = Bm25Settings.model_validate(dict(work.job.settings))
    numbers: dict[str, int] = {}
    counts = np.zeros(0, dtype=np.int64)
    lengths = [np.zeros(0, dtype=np.int32)]
    for tokens in _tokenised_documents(work, settings):
        local = np.array([numbers.setdefault(term, len(numbers)) for term in tokens.vocabulary], dtype=np.int64)
        found = np.bincount(postings(tokens, local).term, minlength=len(numbers))
        found[: len(counts)] += counts
        counts = found
        lengths.append(np.diff(tokens.starts).astype(np.int32))
        work.report(len(tokens.starts) - 1)
    table = pa.table({"term": pa.array(list(numbers), type=pa.string()), "documents": pa.array(counts, type=pa.int64())})
    out.table("terms.parquet", table.take(pc.array_sort_indices(table["term"].combine_chunks())))
    out.array("lengths.npy", np.concatenate(lengths))


def run(work: Work, out: Output) -> None:
    """Write ``qNNNN.parquet`` (:data:`tasks.schema.RETRIEVED`) for each query partition: documents with a score above 0 only."""
    from tasks.retrieve import bm25_index

    settings = Bm25Settings.model_validate({name: value for name, value in work.job.settings.items() if name not in ("chunk", "languages")})
    asked, vocabulary = _tokenised_queries(work, settings)
    statistics = _statistics(work, vocabulary)
    entries, lengths = _entries(work, settings, vocabulary)
    index = bm25_index.build(entries, lengths, statistics, settings)
    lacking = bm25_index.absence(statistics, settings)
    for name, (terms, starts) in asked.items():
        out.table(f"{name}.parquet", _search_all(work, index, terms, starts, lacking, settings.top_k, _masks(work, name)))
    out.meta.update({"documents": statistics.documents, "mean_length": round(statistics.mean_length, 6)})


Mask = NDArray[np.bool_] | None


def _masks(work: Work, name: str) -> Callable[[int], Mask]:
    """By query row of a partition, which documents may be its candidates; ``None``: all."""
    if "languages" not in work.job.settings:
        return lambda row: None
    documents = work.table("documents", "docs.parquet", ["language"])["language"].to_pylist()
    part = next(part for part in work.job.inputs["queries"] if part.index == name)
    queries = work.part_table(part, "queries.parquet", ["language"])["language"].to_pylist()
    found = {one: pairs_allowed(work.job.settings["languages"], [one] * len(documents), documents) for one in set(queries)}
    return lambda row: found[queries[row]]


def _search_all(
    work: Work, index: Any, terms: Ints, starts: Ints, lacking: NDArray[np.float32], top_k: int, mask: Callable[[int], Mask]
) -> pa.Table:
    from tasks.retrieve.bm25_index import search

    query, doc, score = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    pending = 0
    for row in range(len(starts) - 1):
        wanted = terms[starts[row] : starts[row + 1]]
        if len(wanted):
            docs, scores = search(index, wanted, lacking, top_k, mask(row))
            query.append(np.full(len(docs), row, dtype=np.int64))
            doc.append(docs)
            score.append(scores)
        pending += 1
        if pending == _REPORT_EVERY:
            work.report(pending)
            pending = 0
    work.report(pending)
    return retrieved(np.concatenate(query), np.concatenate(doc), np.concatenate(score))


def _tokenised_documents(work: Work, settings: Bm25Settings) -> Iterator[Tokens]:
    from tasks.retrieve.bm25_index import tokenise

    table = work.table("documents", "docs.parquet", ["title", "text"])
    for start in range(0, table.num_rows, _DOCUMENTS):
        block = table.slice(start, _DOCUMENTS)
        title, text = (pc.fill_null(block[name], "") for name in ("title", "text"))
        yield tokenise(pc.binary_join_element_wise(title, text, " ").to_pylist(), settings)


def _tokenised_queries(work: Work, settings: Bm25Settings) -> tuple[dict[str, tuple[Ints, Ints]], dict[str, int]]:
    """Terms and starts of each query partition's queries, as numbers into one vocabulary."""
    from tasks.retrieve.bm25_index import tokenise

    vocabulary: dict[str, int] = {}
    asked = {}
    for part in work.job.inputs["queries"]:
        texts, rows = work.part_table(part, "queries.parquet", ["text"])["text"].to_pylist(), asked_rows(work, part)
        if rows is not None:  # without words, no document is found
            texts = ["" if left_out else text for text, left_out in zip(texts, ~np.isin(np.arange(len(texts)), rows), strict=True)]
        tokens = tokenise(texts, settings)
        numbers = np.array([vocabulary.setdefault(term, len(vocabulary)) for term in tokens.vocabulary], dtype=np.int64)
        asked[part.index] = (numbers[tokens.terms], tokens.starts)
    return asked, vocabulary


def _statistics(work: Work, vocabulary: dict[str, int]) -> Statistics:
    """Sums over all partitions, for the queries' terms; one partition's statistics in memory at a time."""
    from tasks.retrieve.bm25_index import Statistics

    terms = pa.array(list(vocabulary), type=pa.string())
    frequency = np.zeros(len(terms), dtype=np.int64)
    documents, tokens = 0, 0
    for part in work.job.inputs["statistics"]:
        table = work.part_table(part, "terms.parquet")
        place = pc.index_in(terms, value_set=table["term"])
        frequency += pc.fill_null(pc.take(table["documents"].combine_chunks(), place), 0).to_numpy(zero_copy_only=False)
        lengths = read_array(work.storage, part.file("lengths.npy"))
        documents += len(lengths)
        tokens += int(lengths.sum(dtype=np.int64))
    return Statistics(documents, tokens / max(documents, 1), frequency)


def _entries(work: Work, settings: Bm25Settings, vocabulary: dict[str, int]) -> tuple[Postings, Ints]:
    """Postings of the queries' terms in this partition, and the length of each document."""
    from tasks.retrieve.bm25_index import Postings, postings

    empty = np.zeros(0, dtype=np.int64)
    pieces, lengths, rows = [Postings(empty, empty, empty)], [empty], 0
    for tokens in _tokenised_documents(work, settings):
        numbers = np.array([vocabulary.get(term, -1) for term in tokens.vocabulary], dtype=np.int64)
        piece = postings(tokens, numbers)
        pieces.append(piece._replace(doc=piece.doc + rows))
        lengths.append(np.diff(tokens.starts))
        rows += len(tokens.starts) - 1
    return Postings(*(np.concatenate(column) for column in zip(*pieces, strict=True))), np.concatenate(lengths)
