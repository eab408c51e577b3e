import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import InputError
from tasks.intervals import (
    bootstrap,
    by_cluster,
    clusters,
    codes,
    mixed_size,
    proportion,
    resampled,
    variance,
    wilson_ends,
)
from tasks.quantiles import student_quantile


def test_wilson_one_of_ten():
    # z = 2, p = 0.1, n = 10: z²/n = 0.4; centre = (0.1 + 0.2)/1.4 = 0.2142857; half = 2·√((0.09 + 0.1)/10)/1.4 = 0.1969150
    assert wilson_ends(0.1, 10, 2.0) == pytest.approx((0.0173707, 0.4112007), abs=1e-6)


def test_nothing_seen_is_not_certain():
    # all denominators 1: whatever the correlation, 50 pairs are 50 draws; t(49) = 2.0096, t²/50 = 0.08077, /1.08077 = 0.07473
    found = proportion(np.zeros(50), np.ones(50))
    assert (found.estimate, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(0.07473, abs=1e-4)
    assert (found.n, found.n_clusters) == (50, 50)


def test_all_seen_is_not_certain():
    found = proportion(np.ones(50), np.ones(50))
    assert found.high == 1.0
    assert found.low == pytest.approx(1 - 0.07473, abs=1e-4)


def test_correlated_pairs_count_less():
    # two queries of 10 pairs, nothing seen: 20/(1 + 9·0.3) = 5.405 draws; t(1) = 12.706: t²/n = 29.868; high = 29.868/30.868
    assert proportion([0, 0], [10, 10]).high == pytest.approx(29.868 / 30.868, abs=1e-4)


def test_variance_over_clusters():
    # a/b = 1/2 and 3/4, share 4/6 = 2/3: contributions (1 − 4/3)/6 = −1/18 and (3 − 8/3)/6 = 1/18; 2/1 · 2/324 = 1/81
    contributions = (np.array([1.0, 3.0]) - 2 / 3 * np.array([2.0, 4.0])) / 6
    assert variance(contributions) == pytest.approx(1 / 81)


def test_rows_of_a_query_are_summed():
    rows = proportion([1, 0, 1, 0, 0, 1], np.ones(6), codes(np.array(["a", "a", "b", "b", "c", "c"])))
    sums = proportion([1, 1, 1], [2, 2, 2])
    assert rows == sums
    assert rows.n_clusters == 3


def test_mixed_size():
    assert mixed_size(50, 100, 0, 2) == 100
    assert mixed_size(float("inf"), 100, 2, 2) == 200


def test_refusals():
    with pytest.raises(InputError, match="no pairs"):
        proportion([0], [0])
    with pytest.raises(InputError, match="between 0"):
        proportion([2], [1])
    with pytest.raises(InputError, match="all denominators"):
        bootstrap([0.0], [0.0])
    with pytest.raises(InputError, match="NULL"):
        codes(pa.array(["a", None]))
    with pytest.raises(InputError, match="cluster ids"):
        by_cluster([1.0, 2.0], np.array([0]))


def test_bootstrap_of_equal_clusters_is_certain():
    found = bootstrap([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert (found.estimate, found.low, found.high) == (2.0, 2.0, 2.0)


def test_bootstrap_is_seeded_and_may_exceed_one():
    values = np.arange(40.0)
    first, again, other = (bootstrap(values, np.ones(40), seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert first.low < 19.5 < first.high
    # the standard error of a mean of 0 … 39 is √((40² − 1)/12/40) = 1.825; ± 1.96 times that
    assert first.high - first.low == pytest.approx(2 * 1.96 * 1.825, rel=0.1)


def test_bca_moves_towards_the_long_tail():
    skewed = np.concatenate([np.zeros(45), np.full(5, 10.0)])
    plain, corrected = (bootstrap(skewed, np.ones(50), method=method) for method in ("percentile", "bca"))
    assert corrected.low >= plain.low
    assert corrected.high > plain.high


def test_resampled_blocks_are_bounded_and_keep_the_mean():
    totals = resampled(np.ones((7, 2)), 50, 3)
    assert totals.shape == (50, 2)
    assert (totals == 7).all()


def test_clusters_by_group_where_known():
    table = pa.table({"query_id": ["a", "b", "c", "d"], "group": ["x", None, "x", None]})
    found = clusters(table)
    assert found[0] == found[2]
    assert len(set(found.tolist())) == 3
    assert clusters(table.select(["query_id"])).tolist() == [0, 1, 2, 3]


def test_interval_times():
    found = proportion([1, 0], [1, 1]).times(3)
    assert found.estimate == 1.5


@pytest.mark.parametrize(("degrees", "expected"), [(1, 12.7062), (2, 4.3027), (3, 3.182), (4, 2.7764), (9, 2.2622), (400, 1.9659)])
def test_student(degrees, expected):
    assert student_quantile(0.975, degrees) == pytest.approx(expected, rel=2e-3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=30))
def test_the_estimate_lies_inside(pairs):
    top = np.array([min(pair) for pair in pairs])
    bottom = np.array([max(pair) for pair in pairs])
    if not bottom.sum():
        return
    found = proportion(top, bottom)
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    assert found.high > found.low
    wider = proportion(top, bottom, level=0.99)
    assert wider.low <= found.low + 1e-12
    assert wider.high >= found.high - 1e-12
