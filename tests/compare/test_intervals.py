import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.compare.intervals import CLUSTERS, bootstrap, in_clusters


def test_the_same_seed_gives_the_same_interval():
    top, bottom = np.arange(50) % 3, np.full(50, 5)
    assert bootstrap(top, bottom) == bootstrap(top, bottom)
    assert bootstrap(top, bottom) != bootstrap(top, bottom, seed=1)


def test_queries_that_agree_leave_no_doubt():
    low, high = bootstrap(np.full(20, 2.0), np.full(20, 5.0))
    assert (low, high) == (0.4, 0.4)


def test_none_seen_is_not_certain():
    """None of 50 queries leaks: 1 − 0.025^(1/50) = 0.07112."""
    low, high = bootstrap(np.zeros(50), np.full(50, 5.0))
    assert low == 0.0
    assert float(high) == pytest.approx(0.07112, abs=1e-5)


def test_nothing_to_share_out():
    assert np.isnan(bootstrap(np.zeros(3), np.zeros(3))).all()
    assert np.isnan(bootstrap([], [])).all()
    low, high = bootstrap([[1.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [2.0, 0.0]])
    assert (low[0], high[0]) == (0.5, 0.5)
    assert np.isnan([low[1], high[1]]).all()


def test_columns_are_resampled_alike():
    rng = np.random.default_rng(3)
    top, bottom = rng.integers(0, 4, (40, 2)), np.full((40, 2), 5)
    both = bootstrap(top, bottom)
    for column in (0, 1):
        alone = bootstrap(top[:, column], bottom[:, column])
        assert (float(alone[0]), float(alone[1])) == pytest.approx((both[0][column], both[1][column]))


def test_intervals_cover_the_rate_they_should():
    """Correlated negatives: each query leaks 0 or 4 of 5 with probability 0.2, a rate of 0.16. Wilson over pairs would cover far less."""
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(300):
        top = 4 * (rng.random(150) < 0.2)
        low, high = bootstrap(top, np.full(150, 5), resamples=400)
        covered += bool(low <= 0.16 <= high)
    assert 0.91 <= covered / 300 <= 0.98


def test_very_many_queries_are_put_together():
    values = np.ones(CLUSTERS * 2 + 1)
    sums = in_clusters(values)
    assert (len(sums), sums[0], sums[1], sums.sum()) == (CLUSTERS, 3, 2, CLUSTERS * 2 + 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30))
def test_the_interval_stays_within_the_ratios(pairs):
    top, bottom = np.array([min(pair) for pair in pairs]), np.array([max(pair) for pair in pairs])
    low, high = bootstrap(top, bottom, resamples=50)
    if bottom.sum():
        assert 0 <= low <= high <= 1
