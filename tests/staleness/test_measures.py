"""Each measure on numbers that can be checked on paper, and what holds of any numbers."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.finetune.card import card
from tasks.finetune.splits import is_trained
from tasks.models.train_settings import TrainSettings
from tasks.staleness.bootstrap import CLUSTERS, bounds, means, resampled_means
from tasks.staleness.card import CardFacts, card_facts
from tasks.staleness.gather import trained_queries
from tasks.staleness.half_life import half_life
from tasks.staleness.lists import common_prefixes, overlaps, rank_biased_overlaps, ranked_lists
from tasks.staleness.ranks import count_above, percentiles
from tasks.staleness.shares import below, group_means, group_ranks, loss_shares, positives_of, rank_correlations

NAN = float("nan")


def biased(first, second, p=0.5):
    pairs = common_prefixes(np.array([first]), np.array([second]))
    return overlaps(*pairs)[0], rank_biased_overlaps(*pairs, p)[0]


def test_loss_shares_by_hand():
    # scale 2: e^(2·0.5) : e^0 : e^0 = e : 1 : 1; the second row has equal ones; the third a document that is gone
    row = np.array([0, 0, 0, 1, 1, 2, 2])
    found = loss_shares(row, np.array([0.5, 0.0, 0.0, 0.3, 0.3, 0.9, NAN]), 2.0)
    e = math.e
    assert found.tolist() == pytest.approx([e / (e + 2), 1 / (e + 2), 1 / (e + 2), 0.5, 0.5, 1.0, NAN], nan_ok=True)


def test_positives_and_what_is_below_them():
    row, slot = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 0, 1])
    similarity = np.array([0.8, 0.75, 0.5, NAN, 0.2])
    positive = positives_of(row, slot, similarity)
    assert positive.tolist() == pytest.approx([0.8, 0.8, 0.8, NAN, NAN], nan_ok=True)
    assert below(similarity, positive - 0.125)[slot > 0].tolist() == pytest.approx([0.0, 1.0, NAN], nan_ok=True)  # .75 > .675 > .5
    assert group_means(row, below(similarity, positive - 0.125), 3).tolist() == pytest.approx([1 / 3, NAN, NAN], nan_ok=True)


def test_rank_correlation_by_hand():
    group = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    first = np.array([0.1, 0.5, 0.3, 0.2, 0.2, 0.4, 0.9, 0.1])
    second = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 1.0, NAN, 4.0])
    # group 0: ranks 1 3 2 and 1 2 3: 1 − 6·(0 + 1 + 1) / (3·8) = 0.5; 1: no spread; 2 and 3: one pair
    assert rank_correlations(group, first, second, 5).tolist() == pytest.approx([0.5, NAN, NAN, NAN, NAN], nan_ok=True)
    assert group_ranks(np.zeros(4, int), np.array([5.0, 1.0, 5.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_ranks_by_hand():
    # similarities of the query to four documents: 3, 2, 2, 1
    documents = [np.array([[3.0], [2.0]], np.float32), np.array([[2.0], [1.0]], np.float32)]
    told = []
    above, level = count_above(np.array([[1.0], [-1.0]]), np.array([0, 0, 0, 1]), np.array([3.0, 2.0, 1.0, -1.0]), documents, told.append)
    assert (above.tolist(), level.tolist()) == ([0, 1, 3, 0], [1, 2, 1, 1])
    ranks, places = percentiles(above, level, 4)
    assert ranks.tolist() == [1.0, 2.5, 4.0, 1.0]
    assert places.tolist() == [0.0, 50.0, 100.0, 0.0]  # 100 · (rank − 1) / 3
    assert sum(told) == 4
    assert percentiles(np.array([0]), np.array([1]), 1)[1].tolist() == [0.0]  # the only document


def test_lists_by_hand():
    lists = ranked_lists(np.array([1, 0, 0, 0]), np.array([1, 7, 2, 3]), np.array([4, 1, 2, 3]), 3, 2)
    assert lists.tolist() == [[2, 3], [4, -1], [-1, -1]]
    # a b c against b a d: X = 0, 2, 2; overlap 2/3; RBO at p = 1/2: (0/1)/2 + (2/2)/4 + (2/3)/8 + (2/3)/8
    assert biased([0, 1, 2], [1, 0, 3]) == pytest.approx((2 / 3, 1 / 4 + 1 / 12 + 1 / 12))
    # a list of two against one of three: only the first two of either count. X = 1, 1: 1/2 + (1/2)/4 + (1/2)/4
    assert biased([0, 1, -1], [0, 2, 1]) == pytest.approx((0.5, 0.75))
    assert biased([0, 1], [2, 3]) == (0.0, 0.0)
    assert np.isnan(biased([-1, -1], [0, 1])).all()


def test_half_life_by_hand():
    # ln: 0, −ln 2, −2 ln 2 at 0, 1, 2: b = ln 2. With one point off the line: (0, 0), (1, −1), (3, −1) about (4/3, −2/3)
    assert half_life([0, 1, 2], [1.0, 0.5, 0.25]) == pytest.approx(1.0)
    slope = ((-4 / 3) * (2 / 3) + (-1 / 3) * (-1 / 3) + (5 / 3) * (-1 / 3)) / (16 / 9 + 1 / 9 + 25 / 9)
    assert half_life([0, 1, 3], [1.0, math.exp(-1), math.exp(-1)]) == pytest.approx(math.log(2) / -slope)
    assert half_life([0, 400], [0.6, 0.3]) == pytest.approx(400)
    for nothing in (([0], [0.5]), ([1, 1], [0.5, 0.4]), ([0, 1], [0.5, None]), ([0, 1], [0.4, 0.5]), ([0, 1], [0.5, 0.0]), ([], [])):
        assert half_life(*nothing) is None


def test_means_and_intervals_of_what_is_known():
    values = np.array([[1.0, NAN], [3.0, NAN], [NAN, NAN]])
    assert means(values).tolist() == pytest.approx([2.0, NAN], nan_ok=True)
    low, high = bounds(resampled_means(values, 200, 0, 0), 0.95)
    assert (low[0], high[0]) == (1.0, 3.0)
    assert np.isnan([low[1], high[1]]).all()
    same = resampled_means(values, 50, 0, 0), resampled_means(values, 50, 0, 1)
    assert not np.array_equal(*same, equal_nan=True)
    np.testing.assert_array_equal(same[0], resampled_means(values, 50, 0, 0))
    assert np.isnan(resampled_means(np.empty((0, 2)), 10, 0, 0)).all()
    # one group of two queries is one unit: whatever is drawn, its mean is theirs
    assert set(resampled_means(values[:2, :1], 50, 0, 0, np.array([7, 7])).ravel().tolist()) == {2.0}
    wide = resampled_means(np.ones((CLUSTERS + 5, 1)), 10, 0, 0)
    np.testing.assert_allclose(wide, 1.0)


def test_who_is_trained_on_is_what_training_says():
    splits = ["train", None, "TRAIN", "dev", "test", "calibration"]
    names = [f"q{n}" for n in range(6)]
    queries = pa.table({"query_id": names, "group": pa.array([None] * 6, pa.string()), "split": splits})
    assert trained_queries(queries, 1.0, 0).tolist() == is_trained(queries["split"]).to_pylist() == [True] * 3 + [False] * 3
    many = pa.table({"query_id": [f"q{n}" for n in range(1000)], "group": [f"g{n // 2}" for n in range(1000)], "split": ["train"] * 1000})
    half = trained_queries(many, 0.5, 1)
    assert 400 < half.sum() < 600
    assert (half[0::2] == half[1::2]).all()  # whole groups


def test_the_card_of_a_training():
    def facts(loss):
        training = TrainSettings(loss=loss).model_dump(mode="json")
        keyed = {"training": training, "base": "b", "dtype": "float32", "device": "cpu", "query_prompt": "", "document_prompt": ""}
        keyed |= {"title_template": "{text}", "rounds": [{"round": "d/1", "recipe": "top", "selection_id": "s"}], "behind": []}
        told = {"steps": 1234, "samples": 1, "queries": 1, "negatives": 1, "random_negatives": 0, "known_positives": 0, "suspected": 0}
        return card_facts(card(keyed, {**told, "left_out": {}, "losses": []}))

    assert facts({"kind": "masked_multiple_negatives_ranking", "scale": 50.0}) == CardFacts(1234, 50.0)
    assert facts({"kind": "kl_divergence", "student_temperature": 0.25}) == CardFacts(1234, 4.0)
    assert facts({"kind": "margin_mse"}) == CardFacts(1234, None)
    assert card_facts("# Another model\n```json\n{}\n```\n") == CardFacts()


similarities = st.lists(st.tuples(st.integers(0, 4), st.floats(-1, 1)), min_size=1, max_size=30)


@given(similarities, st.floats(0.1, 100))
def test_shares_of_a_row_sum_to_one(pairs, scale):
    row = np.unique(np.array([number for number, _ in pairs]), return_inverse=True)[1]
    found = loss_shares(row, np.array([value for _, value in pairs]), scale)
    np.testing.assert_allclose(np.bincount(row, found), 1.0)
    assert (found >= 0).all()
    order = np.random.default_rng(0).permutation(len(pairs))
    np.testing.assert_allclose(loss_shares(row[order], np.array([pairs[at][1] for at in order]), scale), found[order])


@given(st.permutations(range(6)), st.permutations(range(8)), st.floats(0.05, 0.95))
def test_overlaps_are_shares_and_equal_lists_agree(first, second, p):
    both = biased(first, second[:6], p)
    assert both == pytest.approx(biased(second[:6], first, p))
    assert all(0 <= value <= 1 for value in both)
    assert biased(first, first, p) == pytest.approx((1.0, 1.0))


@given(st.integers(1, 20), st.integers(0, 10**6))
def test_percentiles_are_bounded_and_follow_the_documents(count, seed):
    numbers = np.random.default_rng(seed)
    documents = numbers.integers(-3, 4, (count, 3)).astype(np.float32)
    queries = numbers.integers(-3, 4, (2, 3)).astype(np.float64)
    query, document = np.repeat([0, 1], count), np.tile(np.arange(count), 2)
    similarity = np.einsum("ij,ij->i", queries[query], documents[document].astype(np.float64))
    above, level = count_above(queries, query, similarity, [documents], lambda _: None)
    ranks, places = percentiles(above, level, count)
    assert ((places >= 0) & (places <= 100)).all()
    assert ranks.reshape(2, count).sum(axis=1).tolist() == [count * (count + 1) / 2] * 2  # mean ranks keep the sum
    order = numbers.permutation(count)
    pieces = np.array_split(documents[order], 3)
    again = count_above(queries, query, similarity, pieces, lambda _: None)
    assert [each.tolist() for each in again] == [above.tolist(), level.tolist()]
