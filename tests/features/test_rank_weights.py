import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.features.rank_weights import moving_average, rank_weights
from tasks.features.task import features
from tests.features.world import of_query, values, world
from tests.retrieve.build import context

# Three judged queries with positives at the dense ranks 1, 1 and 3, one of them with another that was not retrieved; four ranks.
RANKS = {"q": "pabc", "r": "pbac", "s": "abpc", "t": "abc"}
# g = (1 - 2/3) / ln 2, 1 / ln 3, (1 - 1/3) / ln 4, 1 / ln 5 = 0.481, 0.910, 0.481, 0.621: a cubic goes through all four
G = [(1 / 3) / math.log(2), 1 / math.log(3), (2 / 3) / math.log(4), 1 / math.log(5)]


def collection():
    docs = [{"doc_id": name} for name in "pabcz"]
    rows = [
        {"query_id": query, "doc_id": doc, "dense_rank": place, "is_positive": doc == "p"}
        for query, found in RANKS.items()
        for place, doc in enumerate(found, 1)
    ]
    return docs, [{"query_id": name} for name in RANKS], [*rows, {"query_id": "q", "doc_id": "z", "dense_rank": None, "is_positive": True}]


@pytest.mark.parametrize("parts", [1, 3])
def test_weights_by_hand(tmp_path, parts):
    setting = context(tmp_path)
    inputs = world(setting.storage, *collection(), query_parts=parts)
    manifest = features(setting, {"rank-weights": {}}, inputs)["rank-weights"]
    column = values(setting.storage, inputs, manifest)["rance_weight"]
    wanted = [one - min(G) for one in G]
    first = of_query(column, "q")
    assert first.pop("z") is None
    assert list(first) == list("pabc")
    assert list(first.values()) == pytest.approx(wanted, abs=1e-6)
    assert list(of_query(column, "t").values()) == list(first.values())[:3]


def test_only_peoples_labels_of_queries_that_train_count(tmp_path):
    """With queries of dev and test (positives at rank 2) and a promoted one at rank 4 the weights are as without them."""
    docs, queries, rows = collection()
    more = [("u", "dev", None), ("v", "Test", None), ("w", None, "promoted")]
    queries += [{"query_id": name, "split": split} for name, split, _ in more]
    rows += [
        {"query_id": name, "doc_id": doc, "dense_rank": place, "is_positive": doc == "b", "provenance": whose if doc == "b" else None}
        for name, _, whose in more
        for place, doc in enumerate("acpb" if whose else "abpc", 1)
    ]
    setting = context(tmp_path)
    inputs = world(setting.storage, docs, queries, rows, query_parts=2)
    found = values(setting.storage, inputs, features(setting, {"rank-weights": {}}, inputs)["rank-weights"])["rance_weight"]
    assert [found["u", doc] for doc in "abpc"] == pytest.approx([one - min(G) for one in G], abs=1e-6)


def test_a_straight_line_is_fitted_to_the_four():
    """Around r = 1.5 the slope is (-1.5 g0 - 0.5 g1 + 0.5 g2 + 1.5 g3) / 5 = -0.0008: the weights fall by that to 0."""
    slope = (-1.5 * G[0] - 0.5 * G[1] + 0.5 * G[2] + 1.5 * G[3]) / 5
    found = rank_weights(np.array([2, 0, 1, 0]), 3, degree=1)
    assert found.tolist() == pytest.approx([-3 * slope, -2 * slope, -slope, 0], abs=1e-12)
    assert not rank_weights(np.array([2, 0, 1, 0]), 3, degree=0).any()


def test_without_hits_higher_ranks_weigh_more():
    found = rank_weights(np.zeros(100, dtype=np.int64), 0)
    assert found[0] == found.max() and found.min() == 0
    assert (np.diff(found[:30]) < 0).all()


def test_where_positives_stand_weighs_less():
    hits = np.zeros(50, dtype=np.int64)
    hits[:10] = 95
    assert 10 < np.argmax(rank_weights(hits, 100)) < 40


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 5, 8])
def test_few_ranks(depth):
    found = rank_weights(np.ones(depth, dtype=np.int64), 1)
    assert found.shape == (depth,) and (found == 0).all()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 12), st.integers(0, 6))
def test_weights_are_finite_and_their_least_is_zero(hits, window, degree):
    found = rank_weights(np.array(hits), 300, window, degree)
    assert np.isfinite(found).all() and found.min() == 0 and len(found) == len(hits)


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=30), st.integers(1, 12))
def test_moving_average_agrees_with_a_loop(numbers, window):
    found = moving_average(np.array(numbers, dtype=np.float64), window)
    for place, value in enumerate(found):
        around = numbers[max(place - window // 2, 0) : place + (window + 1) // 2]
        assert value == pytest.approx(np.mean(around))
