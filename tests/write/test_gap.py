"""The probe that tells written from mined documents."""

import numpy as np

from tasks.write.gap import adversarial_gap

QUERIES = [f"q{number % 50}" for number in range(400)]


def vectors(count, seed, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(count, 4)) + shift).astype(np.float32)


def test_the_gap_is_one_half_where_nothing_differs_and_one_where_all_does():
    mined, alike = vectors(200, 0), vectors(200, 1)
    assert abs(adversarial_gap(mined, alike, QUERIES) - 0.5) < 0.08
    assert adversarial_gap(mined, alike + 9, QUERIES) > 0.99
    assert adversarial_gap(mined[:19], alike, [*QUERIES[:19], *QUERIES[200:]]) is None


def test_the_gap_grows_with_the_difference():
    found = [adversarial_gap(vectors(200, 0), vectors(200, 1, shift), QUERIES) for shift in (0.0, 0.3, 1.0, 3.0)]
    assert found == sorted(found)


def test_what_only_tells_queries_apart_is_no_gap():
    """Kinds that differ from query to query at random cannot be learnt for queries that were not seen."""
    draws = np.random.default_rng(2)
    centres = draws.normal(size=(50, 16)) * 5
    names = draws.integers(0, 50, 400)
    near = (centres[names] + draws.normal(size=(400, 16)) * 0.1).astype(np.float32)
    lean = draws.random(50)  # of each query, the share that is written
    written = draws.random(400) < lean[names]
    order = np.argsort(written, kind="stable")
    count = int((~written).sum())
    found = adversarial_gap(near[order][:count], near[order][count:], [f"q{name}" for name in names[order]])
    assert abs(found - 0.5) < 0.25


def test_one_query_alone_says_nothing():
    assert adversarial_gap(vectors(30, 0), vectors(30, 1), ["q"] * 60) is None
