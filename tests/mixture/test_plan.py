"""Shares, batches and their order, by arithmetic on paper."""

import numpy as np
import pytest

from tasks.mixture.plan import batches_of, order, shares


@pytest.mark.parametrize(
    ("rows", "weights", "temperature", "expected"),
    [
        ([100, 300], [1, 1], 1.0, [0.25, 0.75]),
        ([100, 300], [3, 1], 1.0, [0.5, 0.5]),
        ([16, 256], [1, 1], 2.0, [0.2, 0.8]),
        ([5, 500], [1, 1], 1e9, [0.5, 0.5]),
    ],
)
def test_shares(rows, weights, temperature, expected):
    assert shares(rows, weights, temperature).tolist() == pytest.approx(expected, abs=1e-6)


def test_batches_add_up_and_every_stretch_has_the_shares():
    counts = batches_of(101, shares([100, 300, 600], [1, 1, 1], 1.0))
    assert counts.tolist() == [10, 30, 61]
    arranged = order(counts, ["a", "b", "c"], seed=3)
    assert np.bincount(arranged).tolist() == [10, 30, 61]
    for start in range(0, 80, 20):
        assert abs(np.bincount(arranged[start : start + 20], minlength=3) - [2, 6, 12]).max() <= 2
    assert arranged.tolist() == order(counts, ["a", "b", "c"], seed=3).tolist()
    assert arranged.tolist() != order(counts, ["a", "b", "c"], seed=4).tolist()
