import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import InputError, UsageError
from tasks.intervals import proportion
from tasks.truth.settings import SurvivalSettings
from tasks.truth.survival import leak_from_survival, survival

EDGES = SurvivalSettings(rank_edges=(10,), score_edges=(0.5,), min_planted=2)


def planted(rank, score, query=None):
    query = query if query is not None else [f"q{number}" for number in range(len(rank))]
    return pa.table({"query_id": query, "rank": pa.array(rank, pa.int32()), "score": pa.array(score, pa.float32())})


def target(rank, score, weight):
    return pa.table({"rank": pa.array(rank, pa.int32()), "score": pa.array(score, pa.float32()), "weight": weight})


def test_raw_survival_counts_the_retrieved():
    # 4 planted, one not retrieved: 1 of 3
    found = survival(planted([1, 2, 30, None], [0.9] * 4), np.array([True, False, False, False]), "top")
    assert found.raw.estimate == pytest.approx(1 / 3)
    assert found.weighted is None
    assert [(one.planted, one.emitted, one.target, one.queries) for one in found.strata] == [(3, 1, None, 3)]
    assert found.strata[0].rate == found.raw  # three are too few for two strata


def test_weighted_to_the_unlabelled():
    # rank ≤ 10 and score ≥ 0.5: 1 of 4 emitted; rank > 10 and score < 0.5: 2 of 2
    # the unlabelled weigh 1 and 3: (1·¼ + 3·1)/4 = 0.8125
    mine = planted([1, 2, 3, 4, 50, 60], [0.9, 0.8, 0.7, 0.6, 0.1, 0.2])
    emitted = np.array([True, False, False, False, True, True])
    found = survival(mine, emitted, "top", target([5, 80, 90], [0.9, 0.1, 0.1], [1.0, 1.5, 1.5]), EDGES)
    assert found.raw.estimate == 0.5
    assert found.weighted.estimate == pytest.approx(0.8125)
    assert [(one.cells, one.planted, one.emitted, one.target) for one in found.strata] == [
        (("rank ≤ 10, score ≥ 0.5",), 4, 1, 0.25),
        (("rank > 10, score < 0.5",), 2, 2, 0.75),
    ]
    assert [(one.rate.estimate, one.queries) for one in found.strata] == [(0.25, 4), (1.0, 2)]
    assert all(one.rate.low < one.rate.high for one in found.strata)
    assert found.unplanted == 0
    assert found.weighted.low < 0.8125 < found.weighted.high


def test_small_strata_are_merged_and_said():
    # the cell of rank > 10 has one planted pair of the two that are asked for; the target's cell without a score has none
    mine = planted([1, 2, 50], [0.9, 0.9, 0.1])
    found = survival(mine, np.array([False, False, True]), "top", target([3, 4], [0.9, None], [1.0, 1.0]), EDGES)
    assert found.merged == ("rank ≤ 10, score ≥ 0.5 + rank ≤ 10, no score + rank > 10, score < 0.5",)
    assert found.unplanted == 0.5
    assert found.weighted.estimate == pytest.approx(1 / 3)


def test_nothing_survived_is_not_certain():
    found = survival(planted([1] * 40, [0.9] * 40), np.zeros(40, dtype=bool), "strict", target([1], [0.9], [1.0]))
    assert (found.raw.estimate, found.weighted.estimate, found.weighted.low) == (0, 0, 0)
    assert 0.05 < found.weighted.high < 0.15


def test_leak_from_survival():
    # survival 0.2 × 3 relevant a query ÷ 5 emitted a query = 0.12
    survived = proportion([1, 0, 0, 0, 0] * 20, np.ones(100))
    found = leak_from_survival(survived, 3.0, 5.0)
    assert found.estimate == pytest.approx(0.12)
    assert (found.low, found.high) == pytest.approx((survived.low * 0.6, survived.high * 0.6))
    middle = proportion(np.ones(3), np.ones(3)).model_copy(update={"estimate": 3.0, "low": 2.0, "high": 5.0})
    wider = leak_from_survival(survived, middle, 5.0)
    # low: (0.6 − √((3·(0.2 − l))² + (0.2·1)²))/5
    assert wider.low == pytest.approx((0.6 - ((3 * (0.2 - survived.low)) ** 2 + 0.04) ** 0.5) / 5)
    assert wider.high > found.high


def test_survival_is_not_called_leak():
    survived = proportion([1, 0], [1, 1])
    with pytest.raises(UsageError, match="survival alone is no leak"):
        leak_from_survival(survived, None, 5.0)
    with pytest.raises(InputError, match="emitted no negatives"):
        leak_from_survival(survived, 1.0, 0.0)


def test_a_zero_survival_keeps_an_upper_end():
    survived = proportion(np.zeros(40), np.ones(40))
    middle = survived.model_copy(update={"estimate": 2.0, "low": 1.0, "high": 4.0})
    found = leak_from_survival(survived, middle, 5.0)
    # √((u·2)² + (u·2)²)/5
    assert (found.estimate, found.low, found.high) == (0, 0, pytest.approx(survived.high * 2 * 2**0.5 / 5))


def test_refusals():
    with pytest.raises(InputError, match="no planted positive was retrieved"):
        survival(planted([None], [0.1]), np.array([False]), "top")
    with pytest.raises(InputError, match="no weight"):
        survival(planted([1], [0.1]), np.array([False]), "top", target([1], [0.1], [0.0]))


def test_intervals_cover():
    """200 rounds of 150 queries with 1 to 3 planted positives; a recipe that emits by rank and teacher; the unlabelled lie lower."""
    generator = np.random.default_rng(5)
    rank, score = generator.geometric(0.03, 6000), 1 / (1 + np.exp(-generator.normal(0, 1.5, 6000)))
    true = 0.6 * ((score < 0.5) & (rank <= 20)).mean()
    unlabelled = target(rank, score, np.ones(6000))
    held = 0
    for seed in range(200):
        draws = np.random.default_rng(seed)
        query = np.repeat(np.arange(150), draws.integers(1, 4, 150))
        rank, score = draws.geometric(0.06, len(query)), 1 / (1 + np.exp(-draws.normal(0.8, 1.5, len(query))))
        emitted = (score < 0.5) & (rank <= 20) & (draws.random(len(query)) < 0.6)
        found = survival(planted(rank, score, [f"q{number}" for number in query]), emitted, "teacher", unlabelled)
        held += found.weighted.low <= true <= found.weighted.high
    assert 0.9 <= held / 200 <= 0.99
