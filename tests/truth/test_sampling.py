import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import InputError, UsageError
from tasks.truth.sampling import Plan, allocate, draw, plan, rates
from tasks.truth.settings import SamplingSettings


def test_neyman():
    # size × spread = 30, 10, 20; 60 draws
    assert allocate([100, 100, 200], [0.3, 0.1, 0.1], 60).tolist() == [30, 10, 20]


def test_floor_and_ceiling():
    # the third would get 0.1 and gets 2; the first may give no more than 10 rows; the second takes the rest
    assert allocate([10, 1000, 50], [100.0, 1.0, 0.001], 40).tolist() == [10, 28, 2]


def test_whole_numbers_by_largest_remainder():
    # 10 draws over three equal strata: 3.33 each, the earlier one gets the last
    assert allocate([50, 50, 50], [1, 1, 1], 10).tolist() == [4, 3, 3]


def test_budget_beyond_the_rows_takes_all():
    assert allocate([3, 1], [1, 1], 100).tolist() == [3, 1]


def test_budget_too_small():
    with pytest.raises(UsageError, match="3 draws are too few for 2 strata"):
        allocate([5, 5], [1, 1], 3)


def test_rates_serve_recipes_alike():
    # two recipes, one of 900 pairs and one of 100, equal labels: each gets half of the 100 reviews
    members = np.zeros((1000, 2), dtype=bool)
    members[:900, 0], members[900:, 1] = True, True
    wanted = rates(np.full(1000, 0.2), members, 100, 0.03)
    assert wanted.sum() == pytest.approx(100, abs=3)
    assert wanted[:900].sum() == pytest.approx(50, abs=4)


def test_rates_prefer_the_unsure():
    wanted = rates(np.array([0.5, 0.0]), np.ones((2, 1), dtype=bool), 1, 0.01)
    # √0.25 against √0.01
    assert wanted[0] / wanted[1] == pytest.approx(5.0)


def frame(rows=2000, recipes=4, seed=0):
    generator = np.random.default_rng(seed)
    members = generator.random((rows, recipes)) < 0.4
    members[~members.any(axis=1), 0] = True
    return generator.random(rows), generator.integers(1, 200, rows).astype(float), members


def test_plan_spends_the_budget_in_strata_of_several_draws():
    prior, ranks, members = frame()
    planned = plan(prior, ranks, members, SamplingSettings(budget=300))
    assert planned.draws.sum() == 300
    assert planned.draws.min() >= 2
    assert (planned.draws <= planned.sizes).all()
    assert len(planned.sizes) > 20
    rows, inclusion = draw(planned, np.random.default_rng(1).random(2000))
    assert len(rows) == 300
    # Horvitz and Thompson: the weights of each stratum add up to its size
    weights = np.bincount(planned.stratum[rows], 1 / inclusion)
    assert weights == pytest.approx(planned.sizes)


def test_draw_takes_the_smallest_numbers_of_each_stratum():
    planned = Plan(stratum=np.array([0, 0, 1, 1, 1]), sizes=np.array([2, 3]), draws=np.array([1, 2]))
    rows, inclusion = draw(planned, [0.9, 0.1, 0.5, 0.5, 0.4])
    assert rows.tolist() == [1, 2, 4]  # the tie at 0.5 goes to the earlier row
    assert inclusion.tolist() == pytest.approx([1 / 2, 2 / 3, 2 / 3])
    with pytest.raises(InputError, match="5 rows but 2"):
        draw(planned, [0.1, 0.2])


def test_draws_follow_the_inclusion_probabilities():
    prior, ranks, members = frame(rows=300)
    planned = plan(prior, ranks, members, SamplingSettings(budget=40))
    hits = np.zeros(300)
    for seed in range(400):
        hits[draw(planned, np.random.default_rng(seed).random(300))[0]] += 1
    error = (hits / 400 - planned.inclusion) / np.sqrt(planned.inclusion * (1 - planned.inclusion) / 400)
    assert np.abs(error).max() < 4.5
    assert error.std() == pytest.approx(1, abs=0.15)


def test_a_census_and_unknown_scores():
    members = np.ones((5, 1), dtype=bool)
    planned = plan([0.1, np.nan, 0.3, 0.2, 0.9], np.full(5, np.nan), members, SamplingSettings(budget=300))
    assert planned.inclusion.tolist() == [1.0] * 5


def test_refusals():
    with pytest.raises(InputError, match="no emitted pairs"):
        plan([], [], np.ones((0, 1), dtype=bool))
    with pytest.raises(InputError, match="no recipe"):
        plan([0.5], [1.0], np.zeros((1, 1), dtype=bool))
    with pytest.raises(InputError, match="not its logit"):
        plan([1.5], [1.0], np.ones((1, 1), dtype=bool))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.floats(0, 2)), min_size=1, max_size=12), st.integers(0, 400))
def test_allocation_keeps_its_bounds(strata, extra):
    sizes = np.array([size for size, _ in strata])
    budget = int(np.minimum(sizes, 2).sum()) + extra
    found = allocate(sizes, [spread for _, spread in strata], budget)
    assert found.sum() == min(budget, sizes.sum())
    assert (found <= sizes).all()
    assert (found >= np.minimum(sizes, 2)).all()
