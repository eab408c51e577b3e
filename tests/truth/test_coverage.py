import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

from tasks.errors import InputError
from tasks.truth.coverage import COVERAGE, coverage
from tasks.truth.frame import Frame
from tasks.truth.settings import SamplingSettings

DATA = Path(os.environ.get("HARDMINE_DATA", "/nowhere")) / "banking77-thin"


def found(table, estimator, column):
    rows = [row for row in table.to_pylist() if row["estimator"] == estimator]
    return np.array([row[column] for row in rows])


def synthetic(queries=400, recipes=3):
    """Emitted pairs of queries that differ in how many relevant documents they have; the teacher sees half of it."""
    generator = np.random.default_rng(7)
    query = np.repeat(np.arange(queries), 20)
    hidden = generator.normal(size=len(query)) + generator.normal(size=queries)[query]
    score = hidden + generator.normal(size=len(query))
    relevant = hidden + 0.5 * generator.normal(size=len(query)) > 1.5
    place = np.argsort(np.argsort(-score.reshape(queries, 20), axis=1), axis=1).ravel()
    members = np.stack([place < 5, (place >= 5) & (place < 10), place >= 15], axis=1)[:, :recipes]
    emitted = members.any(axis=1)
    frame = Frame(("top", "skip-5", "last")[:recipes], members[emitted], query[emitted], score[emitted])
    return frame, relevant[emitted], 1 / (1 + np.exp(-score[emitted])), place[emitted] + 1.0


def test_a_table_of_simulated_reviews():
    frame, relevant, prior, ranks = synthetic()
    table = coverage(frame, relevant, prior, ranks, range(100), SamplingSettings(budget=150), resamples=200)
    assert table.schema == COVERAGE
    assert found(table, "design", "leak").tolist() == pytest.approx([relevant[frame.members[:, at]].mean() for at in range(3)])
    for estimator in ("assisted", "design"):
        # 100 reviews: a standard error of 2.2 % around 95 %
        assert (found(table, estimator, "coverage") >= 0.89).all()
        assert (np.abs(found(table, estimator, "bias")) < 0.02).all()
    assert (found(table, "assisted", "rmse") < 1.05 * found(table, "design", "rmse")).all()
    # leaks of 2 %: resampling what was seen does not know what was not
    assert found(table, "percentile bootstrap", "coverage").min() < 0.9
    alone = [row for row in table.to_pylist() if row["estimator"] == "calibrated teacher alone"]
    assert {(row["coverage"], row["width"]) for row in alone} == {(None, None)}


def test_without_a_bootstrap_and_equal_seeds():
    frame, relevant, prior, ranks = synthetic(queries=60)
    first, again = (coverage(frame, relevant, prior, ranks, [3, 4], SamplingSettings(budget=60), resamples=0) for _ in range(2))
    assert first.equals(again)
    assert set(first["estimator"].to_pylist()) == {"assisted", "design", "calibrated teacher alone"}
    with pytest.raises(InputError, match="1 judgements"):
        coverage(frame, [True], prior, ranks, [0])


def thin():
    """banking77-thin: words as the retriever, characters of a document and the queries that are labelled with it as the teacher."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    with gzip.open(DATA / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        docs = [json.loads(line) for line in lines]
    queries = [json.loads(line) for line in (DATA / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    doc_place, query_place = ({row["_id"]: at for at, row in enumerate(rows)} for rows in (docs, queries))

    def matrix(lines):
        found = np.zeros((len(queries), len(docs)), dtype=bool)
        for line in lines[1:]:
            query, doc, _ = line.split("\t")
            found[query_place[query], doc_place[doc]] = True
        return found

    labelled = matrix((DATA / "qrels" / "labelled.tsv").read_text().splitlines())
    with gzip.open(DATA / "qrels" / "exhaustive.tsv.gz", "rt") as lines:
        truth = matrix(lines.read().splitlines())
    measured = [query_place[line.strip()] for line in (DATA / "measured.txt").read_text().splitlines() if line.strip()]
    texts = [row["text"] for row in docs], [row["text"] for row in queries]
    words = TfidfVectorizer(sublinear_tf=True).fit([*texts[0], *texts[1]])
    score = (words.transform(texts[1]) @ words.transform(texts[0]).T).toarray()
    stars = [" ".join([text, *(texts[1][query] for query in np.flatnonzero(labelled[:, at]))]) for at, text in enumerate(texts[0])]
    chars = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True).fit([*texts[0], *texts[1]])
    teacher = (chars.transform(texts[1]) @ chars.transform(stars).T).toarray()
    return score[measured], teacher[measured], labelled[measured], truth[measured]


def chosen(keep, order, pool):
    order = np.where(keep & pool, order, -np.inf)
    best = np.argsort(-order, axis=1, kind="stable")[:, :5]
    found = np.zeros(order.shape, dtype=bool)
    np.put_along_axis(found, best, True, axis=1)
    return found & keep & pool


def recipes(score, teacher, labelled):
    rank = np.argsort(np.argsort(-np.where(labelled, -9, score), axis=1, kind="stable"), axis=1) + 1
    pool = (rank <= 210) & ~labelled
    positive = (score * labelled).sum(axis=1, keepdims=True)
    uniform = np.random.default_rng(0).random(score.shape)
    every = np.ones_like(pool)
    return rank, {
        "top": chosen(every, score, pool),
        "skip-10": chosen(rank > 10, score, pool),
        "PercPos 0.95": chosen(score < 0.95 * positive, score, pool),
        "MarginPos 0.05": chosen(score < positive - 0.05, score, pool),
        "absolute 0.4": chosen(score < 0.4, score, pool),
        "window 0.1": chosen(np.abs(score - positive) < 0.1, score, pool),
        "ranks 10–210, random": chosen(rank > 10, uniform, pool),
        "skip-5": chosen(rank > 5, score, pool),
        "best of the teacher": chosen(every, teacher, pool),
    }


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="the collections of $HARDMINE_DATA are absent")
def test_reviews_of_300_pairs_cover_the_leak():
    score, teacher, labelled, truth = thin()
    rank, emitted = recipes(score, teacher, labelled)
    members = np.stack(list(emitted.values()), axis=-1)
    query, doc = np.nonzero(members.any(axis=-1))
    frame = Frame(tuple(emitted), members[query, doc], query, teacher[query, doc])
    given = (frame, truth[query, doc], np.clip(teacher[query, doc], 0, 1), rank[query, doc].astype(float), range(600))
    table = coverage(*given, SamplingSettings(budget=300), resamples=0)
    assert found(table, "assisted", "leak").min() < 0.03
    assert found(table, "assisted", "leak").max() > 0.6
    for estimator in ("assisted", "design"):
        held = found(table, estimator, "coverage")
        assert ((held >= 0.92) & (held <= 0.98)).all(), table.to_pylist()
    assert (found(table, "assisted", "width") < found(table, "design", "width")).all()
    assert (np.abs(found(table, "assisted", "bias")) < 0.006).all()
