import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import InputError
from tasks.truth.calibration import Calibration, apply, fit
from tasks.truth.reliability import auc, reliability
from tasks.truth.settings import CalibrationSettings


def test_isotonic_pools_violators():
    # labels by score 0 1 0 1: the middle two violate the order and share 1/2
    found = fit([1.0, 2.0, 3.0, 4.0], [0, 1, 0, 1], kind="isotonic")
    assert apply(found, [0.0, 1.0, 2.0, 2.5, 3.0, 4.0, 9.0]).tolist() == pytest.approx([0, 0, 0.5, 0.5, 0.5, 1, 1])
    assert (found.n, found.n_relevant, found.source, found.gives_counts) == (4, 2, "review", True)


def test_isotonic_weights():
    # equal scores: the weighted mean (3·1 + 1·0)/4
    found = fit([1.0, 1.0, 2.0], [1, 0, 1], [3.0, 1.0, 1.0], "isotonic")
    assert apply(found, [1.0]).tolist() == pytest.approx([0.75])


def test_platt_recovers_a_sigmoid():
    score = np.random.default_rng(0).normal(0, 2, 20_000)
    label = np.random.default_rng(1).random(20_000) < 1 / (1 + np.exp(-(1.5 * score - 1)))
    found = fit(score, label)
    assert (found.slope, found.intercept) == pytest.approx((1.5, -1.0), abs=0.08)


def test_platt_of_a_clean_split_is_finite():
    found = fit([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0], [0, 0, 0, 1, 1, 1])
    assert 0 < found.slope < 50
    # the smoothed targets: 1/5 and 4/5
    assert apply(found, [-2.0, 2.0]) == pytest.approx([0.2, 0.8], abs=0.05)


def test_platt_never_falls():
    found = fit([0.0, 1.0, 2.0, 3.0], [1, 1, 0, 0])
    # slope 0: (2 + ½)/(4 + 1)
    assert found.slope == 0
    assert apply(found, [5.0]).tolist() == pytest.approx([0.5])


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_labels_of_one_kind(kind):
    found = fit([1.0, 2.0, 3.0], [0, 0, 0], kind=kind)
    assert apply(found, [0.0, 9.0]).tolist() == pytest.approx([0.125, 0.125])  # ½ ÷ 4


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
@pytest.mark.parametrize("scores", [[0.0, 2e-309], [1.0, 1.0 + 2e-16]])
def test_scores_that_differ_by_rounding_are_equal(kind, scores):
    assert apply(fit(scores, [1, 0], kind=kind), [-5.0, 5.0]).tolist() == pytest.approx([0.5, 0.5])  # (1 + ½)/(2 + 1)


def test_json_and_nan():
    found = fit([1.0, 2.0, 3.0, 4.0], [0, 1, 0, 1], kind="isotonic", source="held-out labels, uncalibrated for counts")
    again = Calibration.model_validate_json(found.model_dump_json())
    assert again == found
    assert not again.gives_counts
    assert np.isnan(apply(again, [np.nan])).all()
    assert np.isnan(apply(fit([0.0, 1.0], [0, 1]), [np.nan])).all()


def test_fit_refuses():
    with pytest.raises(InputError, match="at least one"):
        fit([], [])
    with pytest.raises(InputError, match="not a number"):
        fit([np.nan], [1])
    with pytest.raises(InputError, match="2 scores, 1 labels"):
        fit([1.0, 2.0], [1])


def test_reliability_by_hand():
    found = reliability([0.1, 0.3, 0.7, 0.9], [0, 1, 1, 1], settings=CalibrationSettings(bins=2))
    # Brier (0.01 + 0.49 + 0.09 + 0.01)/4 = 0.15; bins: 0.2 against 0.5 and 0.8 against 1: (0.3 + 0.2)/2
    assert found.brier == pytest.approx(0.15)
    assert found.ece == pytest.approx(0.25)
    assert (found.expected, found.observed) == pytest.approx((2.0, 3.0))
    assert [(one.n, one.predicted, one.observed) for one in found.bins] == [(2, pytest.approx(0.2), 0.5), (2, pytest.approx(0.8), 1.0)]
    assert (found.auc, found.verdict) == (1.0, "can tell")


def test_weights_give_counts():
    found = reliability([0.5, 0.5], [1, 0], [10.0, 30.0])
    assert (found.expected, found.observed) == (20.0, 10.0)
    assert found.brier == 0.25


def test_verdicts():
    labels = [0, 1, 0, 1]
    assert reliability([0.4, 0.3, 0.2, 0.1], labels).verdict == "cannot tell"
    assert reliability([0.4, 0.3, 0.2, 0.1], [0, 0, 0, 0]).verdict == "unknown"
    assert reliability([0.1, 0.5, 0.4, 0.3], labels, settings=CalibrationSettings(auc_floor=0.76)).verdict == "cannot tell"  # 3 of 4 pairs
    with pytest.raises(InputError, match="outside"):
        reliability([1.2], [1])


def test_weighted_auc():
    # positives 2 (weight 1) and 0 (weight 3) against a negative at 1: 1 ÷ 4
    assert auc([2.0, 0.0, 1.0], [1, 1, 0], [1.0, 3.0, 2.0]) == 0.25


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=2, max_size=40), st.sampled_from(["platt", "isotonic"]))
def test_probabilities_rise_with_the_score(rows, kind):
    score, label = np.array([one for one, _ in rows]), np.array([one for _, one in rows])
    wanted = np.sort(np.concatenate([score, np.linspace(-8, 8, 9)]))
    found = apply(fit(score, label, kind=kind), wanted)
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) >= -1e-12).all()
