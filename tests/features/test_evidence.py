"""What neighbouring labels say: values worked out on vectors along the axes."""

import numpy as np
import pytest

from tasks.features.stars import MEANS, STARS, centred, mean_jobs, spread, star_jobs
from tasks.features.task import features
from tasks.runner.runner import run_job
from tests.features.world import of_query, values, world
from tests.retrieve.build import context

EAST, WEST, NORTH, SOUTH = (1, 0), (-1, 0), (0, 1), (0, -1)


def evidence(tmp_path, docs, queries, labels, parts=1, pairs=None, promoted=()):
    """Documents and queries as name: vector; every document is a candidate of every query; labels: (query, document)."""
    setting = context(tmp_path)
    rows = [
        {
            "query_id": query,
            "doc_id": doc,
            "is_positive": (query, doc) in labels,
            "provenance": "promoted" if (query, doc) in promoted else None,
        }
        for query in sorted(queries)
        for doc in sorted(docs)
        if pairs is None or (query, doc) in pairs
    ]
    inputs = world(
        setting.storage,
        [{"doc_id": name, "vector": vector} for name, vector in docs.items()],
        [{"query_id": name, "vector": vector} for name, vector in queries.items()],
        rows,
        doc_parts=parts,
        query_parts=parts,
    )
    return values(setting.storage, inputs, features(setting, {"evidence": {}}, inputs)["evidence"])["label_evidence"]


@pytest.mark.parametrize("parts", [1, 3])
def test_stars_of_one_need_are_alike_whatever_their_texts(tmp_path, parts):
    """The means are 0, so centring changes nothing. Labels: a for e1, b for e2, c for w1, d for w2.

    a = (1, 0) with query (1, 0): inside, 1. b = (0, 1) with query (1, 0): inside, 0. c and d mirror them.
    All stars: mean (1 + 0 + 1 + 0) / 4 = 0.5.
    Spread: a, c (1 + 0.5) / 2 = 0.75; b, d (0 + 0.5) / 2 = 0.25.
    e1's positive is a. b: members across a·b 0, a·e2 1, e1·b 0, e1·e2 1: mean 0.5; 0.5 / sqrt(0.75 · 0.25) = 1.1547.
    c: all four -1: -1 / 0.75 = -1.3333. d: a·d 0, a·w2 -1, e1·d 0, e1·w2 -1: -0.5 / sqrt(0.75 · 0.25) = -1.1547.
    """
    docs = {"a": EAST, "b": NORTH, "c": WEST, "d": SOUTH}
    queries = {"e1": EAST, "e2": EAST, "w1": WEST, "w2": WEST}
    found = evidence(tmp_path, docs, queries, {("e1", "a"), ("e2", "b"), ("w1", "c"), ("w2", "d")}, parts)
    assert of_query(found, "e1") == {
        "a": None,
        "b": pytest.approx(1.1547, abs=1e-4),
        "c": pytest.approx(-1.3333, abs=1e-4),
        "d": pytest.approx(-1.1547, abs=1e-4),
    }
    assert of_query(found, "w2")["c"] == pytest.approx(1.1547, abs=1e-4)


def test_several_positives_and_none(tmp_path):
    """The nearest positive counts; a query without one has no evidence."""
    docs = {"a": EAST, "b": NORTH, "c": WEST, "d": SOUTH}
    found = evidence(tmp_path, docs, {"q": EAST, "r": WEST}, {("q", "a"), ("q", "c")})
    # q is in the stars of a (inside 1) and of c (inside -1): overall (1 - 1) / 2 = 0, held at 0.001; b and d have no query: spread 0.001
    # spread of a: (1 + 0.001) / 2 = 0.5005. b against a: (0 + 0) / ...; all products with b and d are 0
    assert of_query(found, "q") == {"a": None, "b": 0.0, "c": None, "d": 0.0}
    assert of_query(found, "r") == {"a": None, "b": None, "c": None, "d": None}


def test_no_document_has_a_second_label(tmp_path):
    """q's own star is p and q; without other labels the evidence is the candidate's mean similarity with both, scaled."""
    docs = {"p": EAST, "n": WEST, "x": NORTH, "y": SOUTH}
    found = evidence(tmp_path, docs, {"q": EAST, "r": WEST}, {("q", "p")})
    # overall = 1 (the pair p, q); n: -1 and -1, mean -1; spread of n (0 + 1) / 1 = 1
    assert of_query(found, "q") == {"p": None, "n": -1.0, "x": 0.0, "y": 0.0}


def test_promoted_positives_are_no_evidence(tmp_path):
    """With them in the stars and among the positives all else is as without them; they have none themselves, as positives have none."""
    docs = {"a": EAST, "b": NORTH, "c": WEST, "d": SOUTH}
    queries = {"e1": EAST, "e2": EAST, "w1": WEST, "w2": WEST}
    own = {("e1", "a"), ("e2", "b"), ("w1", "c"), ("w2", "d")}
    more = {("e1", "b"), ("w1", "b")}
    plain = evidence(tmp_path / "plain", docs, queries, own)
    found = evidence(tmp_path / "more", docs, queries, own | more, promoted=more)
    assert {pair: value for pair, value in found.items() if pair not in more} == {
        pair: value for pair, value in plain.items() if pair not in more
    }
    assert [found[pair] for pair in sorted(more)] == [None, None]


@pytest.mark.parametrize("split", ["calibration", "dev", "test"])
def test_labels_of_held_out_queries_change_no_byte_of_the_stars(tmp_path, split):
    """h is held out: labelled with a, with b, or with nothing, the stars are those of t's label with a alone; as one of train it counts."""

    def stars(folder, named, *labels):
        setting = context(tmp_path / folder)
        rows = [
            {"query_id": query, "doc_id": doc, "is_positive": (query, doc) in labels, "relevance": 1 if (query, doc) in labels else None}
            for query in "ht"
            for doc in "ab"
        ]
        docs = [{"doc_id": "a", "vector": EAST}, {"doc_id": "b", "vector": NORTH}]
        queries = [{"query_id": "h", "vector": WEST, "split": named}, {"query_id": "t", "vector": EAST, "split": "train"}]
        inputs = world(setting.storage, docs, queries, rows)
        (means,) = [
            run_job(setting.storage.root, MEANS, job, lambda _: None) for job in mean_jobs(inputs.document_vectors, inputs.query_vectors)
        ]
        made = star_jobs(inputs.scored, inputs.document_vectors, inputs.query_vectors, means, inputs.queries)
        done = [run_job(setting.storage.root, STARS, job, lambda _: None) for job in made]
        return [[(file.name, file.checksum) for file in part.files] for part in done], done[0].meta

    alone = stars("alone", split, ("t", "a"))
    assert stars("a", split, ("t", "a"), ("h", "a")) == alone
    assert stars("b", split, ("t", "a"), ("h", "b")) == alone
    assert stars("train", "train", ("t", "a"), ("h", "b")) != alone


def test_spread_draws_small_stars_to_the_mean_and_has_a_floor():
    # pairs 0, 1, 3: (0 + .4) / 1, (.6 + .4) / 2, (.3 + .4) / 4; a star that points apart is held at a quarter of .4
    assert spread(np.array([1, 2, 3, 3]), np.array([0.0, 0.6, 0.3, -0.9]), 0.4).round(3).tolist() == [0.4, 0.5, 0.175, 0.1]


def test_centred_vectors_have_length_one_and_no_common_direction():
    raw = np.array([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]], dtype=np.float32)
    done = centred(raw, np.array([0.0, 1.0]))
    # (0.6, 0.8) - (0, 1) = (0.6, -0.2) / 0.6325; the mean itself stays 0; a zero vector is only shifted
    assert np.allclose(done, [[0.9487, -0.3162], [0, 0], [0, -1]], atol=1e-4)
