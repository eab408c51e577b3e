"""BM25 by bm25s: the one module that imports it. Its tokeniser, formulas, matrix and scorer, with statistics that are given.

A whole-corpus index takes document frequencies and the mean length from the documents that it holds. Here they come
from all partitions, so that a document's score does not depend on the partition that it lies in.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import bm25s
import numpy as np
from bm25s import scoring
from numpy.typing import NDArray

from tasks.retrieve.settings import Bm25Settings

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Tokens(NamedTuple):
    """Tokenised texts, flat: the terms of text i are ``terms[starts[i]:starts[i + 1]]``, numbers into ``vocabulary``."""

    terms: Ints
    starts: Ints
    vocabulary: list[str]


class Postings(NamedTuple):
    """Term frequencies of documents: one entry for each (document, term) that occurs, sorted by both."""

    doc: Ints
    term: Ints
    frequency: Ints


class Statistics(NamedTuple):
    """What the formulas need of the whole corpus: documents, mean length in tokens, documents with each term."""

    documents: int
    mean_length: float
    document_frequency: Ints


def tokenise(texts: Sequence[str], settings: Bm25Settings) -> Tokens:
    r"""Lower case, ``\w\w+``, without stop words; stemmed if so set. As ``bm25s.tokenize``."""
    stopwords: str | list[str] = [] if settings.stopwords == "none" else settings.stopwords
    stemmer = _stem_all if settings.stemmer == "plural" else None
    tokenised = bm25s.tokenize(list(texts), stopwords=stopwords, stemmer=stemmer, show_progress=False)
    starts = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, tokenised.ids), dtype=np.int64, count=len(texts)), out=starts[1:])
    terms = np.fromiter(chain.from_iterable(tokenised.ids), dtype=np.int64, count=int(starts[-1]))
    vocabulary = [""] * len(tokenised.vocab)
    for term, number in tokenised.vocab.items():
        vocabulary[number] = term
    return Tokens(terms, starts, vocabulary)


def plural_stem(word: str) -> str:
    """Harman's S stemmer (1991): ``ies`` → ``y``, else ``es`` → ``e``, else ``s`` → nothing, each with its exceptions.

    >>> [plural_stem(word) for word in ("queries", "vectors", "classes", "glass", "corpus", "trees")]
    ['query', 'vector', 'classe', 'glass', 'corpus', 'tree']
    """
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith(("us", "ss")) else word


def _stem_all(words: list[str]) -> list[str]:
    return [plural_stem(word) for word in words]


def postings(tokens: Tokens, numbers: Ints) -> Postings:
    """Count the terms of each document.

    Args:
        tokens: of the documents.
        numbers: (len(vocabulary),): each term's number elsewhere, -1 for terms that do not matter.
    """
    terms = numbers[tokens.terms]
    doc = np.repeat(np.arange(len(tokens.starts) - 1, dtype=np.int64), np.diff(tokens.starts))
    width = int(numbers.max(initial=0)) + 1
    keys, frequency = np.unique(doc[terms >= 0] * width + terms[terms >= 0], return_counts=True)
    return Postings(keys // width, keys % width, frequency.astype(np.int64))


def build(entries: Postings, lengths: Ints, statistics: Statistics, settings: Bm25Settings) -> bm25s.BM25:
    """An index over some of the corpus' documents.

    Args:
        entries: their postings; term numbers are those of ``statistics.document_frequency``.
        lengths: (documents,): tokens of each of them.
        statistics: of the whole corpus.
        settings: the formula.
    """
    index = bm25s.BM25(k1=settings.k1, b=settings.b, delta=settings.delta, method=settings.method, backend="numpy", csc_backend="numpy")
    idf = inverse_document_frequency(statistics, settings)
    formula = scoring._select_tfc_scorer(settings.method)
    term_part = formula(
        tf_array=entries.frequency.astype(np.float32),
        l_d=lengths[entries.doc],
        l_avg=statistics.mean_length,
        k1=settings.k1,
        b=settings.b,
        delta=settings.delta,
    )
    scores = (idf[entries.term] * term_part).astype(np.float32) - absence(statistics, settings)[entries.term]
    shape = (len(lengths), len(statistics.document_frequency))
    data, indices, indptr = index._np_csc(data=scores, rows=entries.doc.astype(np.int32), cols=entries.term.astype(np.int32), shape=shape)
    index.scores = {"data": data, "indices": indices, "indptr": indptr, "num_docs": len(lengths)}
    index.nonoccurrence_array = None
    return index


def inverse_document_frequency(statistics: Statistics, settings: Bm25Settings) -> Floats:
    """(terms,) float32; 0 for terms that no document has."""
    formula = scoring._select_idf_scorer(settings.method)
    distinct, inverse = np.unique(statistics.document_frequency, return_inverse=True)
    values = [formula(int(frequency), N=statistics.documents) if frequency else 0.0 for frequency in distinct]
    idf: Floats = np.array(values, dtype=np.float32)[inverse]
    return idf


def absence(statistics: Statistics, settings: Bm25Settings) -> Floats:
    """(terms,) float32: what bm25l and bm25+ give a document for a term that it lacks; 0 for the other methods."""
    if settings.method not in ("bm25l", "bm25+"):
        return np.zeros(len(statistics.document_frequency), dtype=np.float32)
    mean = statistics.mean_length
    part = scoring._select_tfc_scorer(settings.method)(tf_array=0, l_d=mean, l_avg=mean, k1=settings.k1, b=settings.b, delta=settings.delta)
    lacking: Floats = (inverse_document_frequency(statistics, settings).astype(np.float64) * part).astype(np.float32)
    return lacking


def search(index: bm25s.BM25, terms: Ints, lacking: Floats, top_k: int, mask: NDArray[np.bool_] | None = None) -> tuple[Ints, Floats]:
    """The best documents that share a term of weight with a query.

    Args:
        index: from :func:`build`.
        terms: (n,): the query's terms, repeated ones as often as they occur.
        lacking: from :func:`absence`.
        top_k: at most so many.
        mask: (documents,) those that may be found; none: all.

    Returns:
        Documents and scores, best first; equal scores by document number.
    """
    scores = index.get_scores_from_ids(terms)
    hits = np.flatnonzero(scores > 0 if mask is None else (scores > 0) & mask)
    values = scores[hits]
    if len(hits) > top_k:
        border = np.partition(values, len(values) - top_k)[len(values) - top_k]
        hits, values = hits[values >= border], values[values >= border]
    order = np.lexsort((hits, -values))[:top_k]
    return hits[order].astype(np.int64), values[order] + lacking[terms].sum(dtype=np.float32)
