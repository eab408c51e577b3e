"""Recipes over ranks, each on a table that can be checked on paper."""

import pytest

from tests.select.tables import Chosen, many, positive, ranked

FIVE = [0.9, 0.8, 0.7, 0.6, 0.5]
RANDOM = ["dense", "random"]


def anywhere(doc, score=0.01):
    """A document that only the random source gave."""
    return {"doc_id": doc, "dense_score": score, "random_rank": 1, "random_score": 0.0}


def test_top():
    """d1 is the positive; two of the rest, by rank. The row: the positive in slot 0, then d2 and d3."""
    chosen = Chosen("top", ranked(FIVE, positives=("d1",)))
    assert chosen.negatives() == ["d2", "d3"]
    assert [(row["slot"], row["doc_id"], row["label"]) for row in chosen.rows] == [(0, "d1", 1.0), (1, "d2", 0.0), (2, "d3", 0.0)]
    assert Chosen({"name": "top", "depth": 2}, ranked(FIVE, positives=("d1",))).negatives() == ["d2"]


def test_skip_n():
    """Ranks 1 and 2 are skipped, the positive's among them; 3 and 4 follow."""
    chosen = Chosen({"name": "skip-n", "skip": 2}, ranked(FIVE, positives=("d1",)))
    assert chosen.negatives() == ["d3", "d4"]
    assert chosen.why() == {"d2": "rank_range"}


def test_bge():
    """Ranks over 1 up to 3: d2 and d3, which do not suffice; x, that was retrieved at random, fills the row."""
    rows = [*ranked(FIVE), positive(0.7), anywhere("x")]
    chosen = Chosen({"name": "bge", "range_min": 1, "range_max": 3}, rows, number=3, sources=RANDOM)
    assert chosen.negatives() == ["d2", "d3", "x"]
    assert chosen.draws() == {"d2": "range", "d3": "range", "x": "backfill"}


def test_ance():
    """Four unlabelled documents in the top 4, one drawn: each in a quarter of the queries. d5 is too deep."""
    rows = [*ranked([0.9, 0.8, 0.7, 0.6, 0.5]), positive(0.7)]
    shares = Chosen({"name": "ance", "depth": 4}, many(rows), number=1).shares()
    assert shares == {doc: pytest.approx(0.25, abs=0.04) for doc in ("d1", "d2", "d3", "d4")}


def test_ance_serves_each_query_in_one_of_its_chunks():
    rows = many([*ranked([0.9]), positive(0.7)], queries=60)
    served = []
    for chunk in range(3):
        chosen = Chosen({"name": "ance", "chunk_factor": 3, "chunk": chunk}, rows)
        served.append({row["query_id"] for row in chosen.decisions if row["decision"] == "negative"})
        assert set(chosen.why().values()) == {"other_chunk"}
    assert sum(map(len, served)) == len(set.union(*served)) == 60
    assert min(map(len, served)) > 8


def test_star():
    """Two of the top 2 and one from anywhere; d3 is too deep to be hard."""
    rows = [*ranked([0.9, 0.8, 0.7]), positive(0.6), anywhere("x")]
    chosen = Chosen({"name": "star", "depth": 2}, rows, number=3, sources=RANDOM)
    assert chosen.negatives() == ["d1", "d2", "x"]
    assert chosen.draws() == {"d1": "hard", "d2": "hard", "x": "random"}
    assert set(Chosen("star", rows, number=1, sources=RANDOM).draws().values()) == {"hard"}  # the only one of a row is hard
    assert Chosen({"name": "star", "random_negatives": 0}, rows, number=4).negatives() == ["d1", "d2", "d3"]


def test_bm25_static():
    """BM25's order, not the retriever's: b, then a. c was not retrieved by it."""
    rows = [
        {"doc_id": "a", "dense_rank": 1, "dense_score": 0.9, "bm25_rank": 2, "bm25_score": 5.0},
        {"doc_id": "b", "dense_rank": 2, "dense_score": 0.8, "bm25_rank": 1, "bm25_score": 7.0},
        {"doc_id": "c", "dense_rank": 3, "dense_score": 0.7},
        positive(0.6),
    ]
    chosen = Chosen("bm25-static", rows, number=3)
    assert chosen.negatives() == ["b", "a"]
    assert chosen.why() == {"c": "not_retrieved_bm25"}


def test_in_batch():
    """A row a positive, with nothing but the positive."""
    chosen = Chosen("in-batch", [*ranked([0.9, 0.8], positives=("d2",)), positive(0.6)], number=5)
    assert sorted((row["positive_id"], row["slot"], row["doc_id"]) for row in chosen.rows) == [("d2", 0, "d2"), ("p", 0, "p")]
    assert {row["doc_id"]: row["decision"] for row in chosen.decisions} == {"d1": "not_drawn", "d2": "positive", "p": "positive"}
    assert chosen.recipe.needs.features == {}


def test_dpr():
    """BM25's first contains an answer; the next two do not."""
    rows = [
        {"doc_id": f"b{rank}", "dense_score": 0.5, "bm25_rank": rank, "bm25_score": 10.0 - rank, "answer_match": match}
        for rank, match in ((1, True), (2, False), (3, False), (4, None))
    ]
    chosen = Chosen("dpr", [*rows, positive(0.6)])
    assert chosen.negatives() == ["b2", "b3"]
    assert chosen.why() == {"b1": "answer_match"}
    assert chosen.recipe.needs.features["answers"] == {}
    assert Chosen({"name": "dpr", "match": "regex"}, rows).recipe.needs.features["answers"] == {"method": "regex"}
    strict = Chosen({"name": "dpr", "unanswered": "reject"}, [*rows, positive(0.6)], number=4)
    assert strict.negatives() == ["b2", "b3"]
    assert strict.why() == {"b1": "answer_match", "b4": "no_answers"}
    assert Chosen("dpr", [*rows, positive(0.6)], number=4).negatives() == ["b2", "b3", "b4"]


def test_sentence_transformers():
    """s > 0.8 − 0.8 · 0.1 = 0.72 goes: d1, d2. Of d3, d4, d5 the first is cut by range_min."""
    rows = [*ranked([0.9, 0.75, 0.7, 0.6, 0.5]), positive(0.8)]
    chosen = Chosen({"name": "sentence-transformers", "relative_margin": 0.1, "range_min": 1}, rows)
    assert chosen.negatives() == ["d4", "d5"]
    assert chosen.why() == {"d1": "relative_margin", "d2": "relative_margin"}


def test_rance():
    """Weights 0.9, 0.1 and 0: nine tenths, one tenth, never."""
    rows = [*ranked([0.9, 0.8, 0.7], rance_weight=[0.9, 0.1, 0.0]), positive(0.6)]
    shares = Chosen("rance", many(rows), number=1).shares()
    assert shares == {"d1": pytest.approx(0.9, abs=0.025), "d2": pytest.approx(0.1, abs=0.025)}
    assert Chosen("rance", rows, number=3).negatives() == ["d1", "d2"]
