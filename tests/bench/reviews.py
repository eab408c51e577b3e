"""Simulated reviews of banking77-thin: how often the intervals hold the leak. The table of docs/truth.md.

    python -m tests.bench.reviews --data FOLDER [--root FOLDER] [--seeds 200]

300 pairs a review, labels from the truth, shared by recipes. The retriever: vectors of a round of banking77-thin that is mined under
``--root`` (as tests.bench.retrievers does), or words (TF-IDF) without it. The teacher: characters of a document and of the queries that are
labelled with it. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flows.stored import find_round, stored_table
from tasks.store.storage import open_storage
from tasks.store.tables import read_array, read_parts
from tasks.truth.coverage import coverage
from tasks.truth.frame import Frame
from tasks.truth.settings import SamplingSettings

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
BUDGET = 300
_ROWS = (
    ("assisted", "coverage", "`review`: coverage"),
    ("design", "coverage", "`review_design`: coverage"),
    ("percentile bootstrap", "coverage", "a percentile bootstrap instead: coverage"),
    ("assisted", "width", "`review`: width"),
    ("assisted", "rmse", "`review`: root mean square error"),
    ("calibrated teacher alone", "bias", "the teacher alone, calibrated on the same review: bias"),
    ("calibrated teacher alone", "rmse", "the teacher alone, calibrated on the same review: root mean square error"),
)


@dataclass(frozen=True)
class Thin:
    """The measured queries of banking77-thin, all arrays of shape (queries, documents).

    Args:
        score: the retriever's.
        teacher: its score.
        labelled: the one label of each query.
        truth: every relevant document.
        near: a score that similar documents exceed.
    """

    score: Floats
    teacher: Floats
    labelled: Flags
    truth: Flags
    near: float

    @classmethod
    def read(cls, folder: Path, root: str | None = None) -> Thin:
        """From the collection's files.

        Args:
            folder: of banking77-thin.
            root: a mined round's vectors; none: words.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer

        with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
            docs = [json.loads(line) for line in lines]
        queries = [json.loads(line) for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
        doc_ids, query_ids = ([row["_id"] for row in rows] for rows in (docs, queries))
        doc_place, query_place = ({name: at for at, name in enumerate(ids)} for ids in (doc_ids, query_ids))

        def matrix(lines: list[str]) -> Flags:
            found = np.zeros((len(queries), len(docs)), dtype=bool)
            for line in lines[1:]:
                query, doc, _ = line.split("\t")
                found[query_place[query], doc_place[doc]] = True
            return found

        labelled = matrix((folder / "qrels" / "labelled.tsv").read_text().splitlines())
        with gzip.open(folder / "qrels" / "exhaustive.tsv.gz", "rt") as lines:
            truth = matrix(lines.read().splitlines())
        measured = [query_place[line.strip()] for line in (folder / "measured.txt").read_text().splitlines() if line.strip()]
        texts = [row["text"] for row in docs], [row["text"] for row in queries]
        if root is None:
            words = TfidfVectorizer(sublinear_tf=True).fit([*texts[0], *texts[1]])
            score = (words.transform(texts[1]) @ words.transform(texts[0]).T).toarray()
        else:
            score = stored_scores(root, query_ids, doc_ids)
        stars = [" ".join([text, *(texts[1][query] for query in np.flatnonzero(labelled[:, at]))]) for at, text in enumerate(texts[0])]
        chars = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True).fit([*texts[0], *texts[1]])
        teacher = (chars.transform(texts[1]) @ chars.transform(stars).T).toarray()
        return cls(score[measured], teacher[measured], labelled[measured], truth[measured], 0.4 if root is None else 0.7)


def stored_scores(root: str, query_ids: list[str], doc_ids: list[str]) -> Floats:
    """Products of the vectors of a mined round, in the order of the ids."""
    storage = open_storage(root)
    table = stored_table(storage, find_round(storage, "banking77-thin/1"))

    def vectors(embedded: Any, texts: Any, file: str, name: str, ids: list[str]) -> Floats:
        place = {one: at for at, one in enumerate(read_parts(storage, texts, file, [name])[name].to_pylist())}
        every = np.concatenate([read_array(storage, part.file("vectors.npy")) for part in embedded]).astype(np.float64)
        return np.asarray(every[[place[one] for one in ids]])

    asked = vectors(table.query_vectors, table.queries, "queries.parquet", "query_id", query_ids)
    return np.asarray(asked @ vectors(table.document_vectors, table.documents, "docs.parquet", "doc_id", doc_ids).T)


def recipes(given: Thin) -> tuple[NDArray[np.int64], dict[str, Flags]]:
    """Rank of each document, and what each recipe emits: five negatives a query."""
    score, labelled = given.score, given.labelled
    rank = np.argsort(np.argsort(-np.where(labelled, -9, score), axis=1, kind="stable"), axis=1) + 1
    pool = (rank <= 210) & ~labelled
    positive = (score * labelled).sum(axis=1, keepdims=True)
    uniform = np.random.default_rng(0).random(score.shape)
    every = np.ones_like(pool)
    return rank, {
        "top": _chosen(every, score, pool),
        "skip-10": _chosen(rank > 10, score, pool),
        "PercPos": _chosen(score < 0.95 * positive, score, pool),
        "MarginPos": _chosen(score < positive - 0.05, score, pool),
        f"abs {given.near:g}": _chosen(score < given.near, score, pool),
        "window": _chosen(np.abs(score - positive) < 0.1, score, pool),
        "10–210 random": _chosen(rank > 10, uniform, pool),
        "skip-5": _chosen(rank > 5, score, pool),
    }


def _chosen(keep: Flags, order: Floats, pool: Flags) -> Flags:
    """The best five of each query."""
    order = np.where(keep & pool, order, -np.inf)
    best = np.argsort(-order, axis=1, kind="stable")[:, :5]
    found = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(found, best, True, axis=1)
    return found & keep & pool


def simulated(given: Thin, seeds: int, resamples: int = 0) -> pa.Table:
    """:data:`tasks.truth.coverage.COVERAGE` of so many reviews."""
    rank, emitted = recipes(given)
    members = np.stack(list(emitted.values()), axis=-1)
    query, doc = np.nonzero(members.any(axis=-1))
    frame = Frame(tuple(emitted), members[query, doc], query, given.teacher[query, doc])
    known = (given.truth[query, doc], np.clip(given.teacher[query, doc], 0, 1), rank[query, doc].astype(float))
    return coverage(frame, *known, range(seeds), SamplingSettings(budget=BUDGET), resamples=resamples)


def markdown(found: pa.Table) -> str:
    """A column a recipe."""
    rows = {(row["recipe"], row["estimator"]): row for row in found.to_pylist()}
    names = list(dict.fromkeys(recipe for recipe, _ in rows))
    leak = [_number(rows[name, "assisted"]["leak"]) for name in names]
    lines = [["", *names], ["---"] * (len(names) + 1), ["leak", *leak]]
    lines += [[word, *(_number(rows[name, estimator][column]) for name in names)] for estimator, column, word in _ROWS]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1).replace("-", "−")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with banking77-thin/")
    parser.add_argument("--root", help="with a mined round of banking77-thin; without it words are the retriever")
    parser.add_argument("--seeds", type=int, default=200)
    given = parser.parse_args()
    print(markdown(simulated(Thin.read(given.data / "banking77-thin", given.root), given.seeds, resamples=400)))  # noqa: T201


if __name__ == "__main__":
    main()
