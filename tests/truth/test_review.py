import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import InputError
from tasks.truth.frame import NOT_RELEVANT, RELEVANT, UNANSWERED, UNSURE, Frame, Sample, answered, frame
from tasks.truth.review import centred, leaks, out_of_fold
from tasks.truth.settings import ReviewSettings


def one_recipe(rows, score=None, per_query=1):
    return Frame(("top",), np.ones((rows, 1), dtype=bool), np.arange(rows) // per_query, score)


def sample(rows, labels, inclusion, stratum=None):
    rows = np.asarray(rows)
    return Sample(
        rows,
        np.zeros(len(rows), dtype=int) if stratum is None else np.asarray(stratum),
        np.broadcast_to(np.asarray(inclusion, dtype=float), rows.shape),
        np.asarray(labels, dtype=np.int8),
    )


def test_design_estimate_weighs_by_inclusion():
    # stratum 0: 2 of 10 rows, both relevant, weight 5; stratum 1: 4 of 40 rows, none, weight 10: 10/(10 + 40) = 0.2
    given = sample([0, 1, 10, 11, 12, 13], [1, 1, 0, 0, 0, 0], [0.2, 0.2, 0.1, 0.1, 0.1, 0.1], [0, 0, 1, 1, 1, 1])
    [found] = leaks(one_recipe(50), given)
    assert found.design.estimate == pytest.approx(0.2)
    assert (found.emitted, found.reviewed, found.relevant, found.unsure) == (50, 6, 2, 0)
    assert found.none_relevant == found.all_relevant == found.assisted
    assert found.design_none_relevant == found.design_all_relevant == found.design
    assert found.bounds == (found.assisted.low, found.assisted.high)


def test_a_constant_teacher_changes_nothing():
    # without a score the difference estimator's probability is constant within a fold; with every label equal both estimates agree
    given = sample(range(20), [0] * 20, 0.2)
    [found] = leaks(one_recipe(100), given)
    assert found.design.estimate == 0.0
    assert found.assisted.estimate == pytest.approx(0.0, abs=0.02)
    assert 0.05 < found.design.high < 0.35  # nothing seen is not certain


def test_difference_estimator_by_hand():
    # two queries, one fold for each; the calibration of a fold is a constant from the other query's labels
    given = sample([0, 1, 2, 3], [1, 1, 0, 0], 0.5)
    one = Frame(("top",), np.ones((8, 1), dtype=bool), np.array([0, 0, 1, 1, 0, 0, 1, 1]), None)
    probability = out_of_fold(one, given, ReviewSettings(folds=2))
    # query 0 is predicted from query 1 (none of 2: ½/3) and the other way round (2½/3), unless the hash puts both in one fold
    if probability[0] != probability[2]:
        assert probability[[0, 2]].tolist() == pytest.approx([1 / 6, 5 / 6])
    [found] = leaks(one, given, ReviewSettings(folds=2))
    # mean probability ½, residuals ±5/6 that cancel
    assert found.expected == pytest.approx(0.5)
    assert found.assisted.estimate == pytest.approx(0.5)


def test_labels_do_not_calibrate_their_own_query():
    generator = np.random.default_rng(0)
    score = generator.normal(size=200)
    truth = generator.random(200) < 1 / (1 + np.exp(-2 * score))
    one = one_recipe(200, score, per_query=4)
    rows = np.arange(0, 200, 2)
    before = sample(rows, truth[rows], 0.5)
    flipped = truth.copy()
    flipped[:4] = ~flipped[:4]  # the first query's labels
    after = sample(rows, flipped[rows], 0.5)
    settings = ReviewSettings()
    first, second = out_of_fold(one, before, settings), out_of_fold(one, after, settings)
    assert first[:4].tolist() == second[:4].tolist()
    assert (first != second).any()


def test_a_good_teacher_narrows():
    generator = np.random.default_rng(1)
    score = generator.normal(size=3000)
    truth = score + generator.normal(size=3000) * 0.15 > 0.8
    rows = np.arange(0, 3000, 20)
    [found] = leaks(one_recipe(3000, score), sample(rows, truth[rows], 0.05))
    assert found.assisted.low <= truth.mean() <= found.assisted.high
    assert found.assisted.high - found.assisted.low < 0.6 * (found.design.high - found.design.low)


def test_unsure_gives_bounds():
    labels = [RELEVANT] * 4 + [UNSURE] * 4 + [NOT_RELEVANT] * 12
    [found] = leaks(one_recipe(100), sample(range(20), labels, 0.2))
    # sure answers: 4 of 16; unsure as not relevant: 4 of 20; as relevant: 8 of 20
    assert found.design.estimate == pytest.approx(0.25)
    assert found.none_relevant.estimate == pytest.approx(0.2, abs=0.02)
    assert found.all_relevant.estimate == pytest.approx(0.4, abs=0.02)
    assert (found.reviewed, found.unsure, found.design.n) == (20, 4, 16)
    assert found.bounds == (found.none_relevant.low, found.all_relevant.high)
    assert found.design_none_relevant.estimate == pytest.approx(0.2) and found.design_all_relevant.estimate == pytest.approx(0.4)
    assert found.design_bounds == (found.design_none_relevant.low, found.design_all_relevant.high)
    assert found.design_bounds[0] < found.design.low and found.design.high < found.design_bounds[1]


def test_unanswered_rows_shrink_their_stratum():
    given = sample([0, 1, 2, 3], [1, UNANSWERED, 0, 0], 0.2, [0, 0, 1, 1])
    found = answered(given)
    assert found.rows.tolist() == [0, 2, 3]
    assert found.inclusion.tolist() == pytest.approx([0.1, 0.2, 0.2])  # half of stratum 0 was answered


def test_a_census_is_exact():
    labels = [1, 0, 0, 1]
    [found] = leaks(one_recipe(4), sample(range(4), labels, 1.0))
    assert (found.design.estimate, found.design.low, found.design.high, found.design.method) == (0.5, 0.5, 0.5, "census")


def test_pairs_of_a_query_are_summed():
    # the same labels, alone or four to a query that agrees: the correlated ones are less sure
    labels = np.repeat([1, 0, 0, 1, 0], 4)
    alone = leaks(one_recipe(400), sample(range(20), labels, 0.05))[0].design
    together = leaks(one_recipe(400, per_query=4), sample(range(20), labels, 0.05))[0].design
    assert together.estimate == alone.estimate
    assert together.high - together.low > 1.3 * (alone.high - alone.low)
    assert (alone.n_clusters, together.n_clusters) == (20, 5)


def test_stratified_variance_by_hand():
    # two strata of 2 draws each from 4 rows: centred ±1 and ±2, times √(2/1 · 1/2) = 1
    found = centred(np.array([[1.0], [3.0], [5.0], [9.0]]), np.array([0, 0, 1, 1]), np.full(4, 0.5))
    assert found.ravel().tolist() == pytest.approx([-1, 1, -2, 2])
    # a stratum with one draw is not centred: 3 · √(1 − ½)
    assert centred(np.array([[3.0]]), np.array([7]), np.array([0.5])).ravel().tolist() == pytest.approx([3 * 0.5**0.5])


def test_several_recipes_share_a_review():
    members = np.zeros((40, 2), dtype=bool)
    members[:30, 0], members[20:, 1] = True, True
    one = Frame(("a", "b"), members, np.arange(40), None)
    rows = np.arange(0, 40, 2)
    found = leaks(one, sample(rows, rows < 10, 0.5))
    # a: rows 0 … 28: 5 relevant of 15; b: rows 20 … 38: none of 10
    assert [leak.design.estimate for leak in found] == pytest.approx([1 / 3, 0.0])
    assert [(leak.recipe, leak.reviewed, leak.emitted) for leak in found] == [("a", 15, 30), ("b", 10, 20)]


def test_a_pair_without_a_score():
    score = np.array([1.0, 2.0, np.nan, np.nan] * 10)
    given = sample(range(40), [1, 1, 0, 0] * 10, 0.5)
    probability = out_of_fold(one_recipe(40, score), given, ReviewSettings())
    assert np.isfinite(probability).all()
    assert probability[2] < 0.1 < 0.9 < probability[1]


def test_frame_from_a_table():
    table = pa.table(
        {
            "query_id": ["q1", "q1", "q2"],
            "doc_id": ["a", "b", "a"],
            "recipes": [["top"], ["top", "skip"], ["skip"]],
            "score": [0.5, None, 1.0],
            "group": ["g", "g", None],
        }
    )
    found = frame(table)
    assert found.recipes == ("skip", "top")
    assert found.members.tolist() == [[False, True], [True, True], [True, False]]
    assert found.clusters[0] == found.clusters[1] != found.clusters[2]
    assert np.isnan(found.score[1])
    assert frame(table, ["top"]).members.ravel().tolist() == [True, True, False]
    with pytest.raises(InputError, match="'none' has no pair"):
        frame(table, ["none"])


def test_refusals():
    with pytest.raises(InputError, match="has a sure answer"):
        leaks(one_recipe(4), sample([0, 1], [UNSURE, UNSURE], 0.5))
    with pytest.raises(InputError, match=r"outside \(0, 1\]"):
        leaks(one_recipe(4), sample([0, 1], [1, 0], 0.0))
    members = np.array([[True, False], [False, True]])
    with pytest.raises(InputError, match="'b' has no reviewed pair"):
        leaks(Frame(("a", "b"), members, np.arange(2), None), sample([0], [1], 0.5))
