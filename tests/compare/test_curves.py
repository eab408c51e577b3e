import pytest

from tasks.compare.curves import CURVES, Curve, CurvePoint, at_hardness, at_yield, curve, curve_table, pareto
from tasks.compare.metrics import measure
from tasks.compare.settings import MeasureSettings
from tests.compare.build import candidates, decisions, truth


def point(hardness, leak, served=1.0, value=None):
    return CurvePoint(served=served, hardness=hardness, leak=leak, value=value)


def measured(score):
    selection = decisions(("main", "a", "p", "positive"), ("main", "a", "n", "negative"))
    return measure(selection, candidates(("a", "p", 0.9), ("a", "n", score)), truth({("a", "n")}, {"a"}), MeasureSettings(num_negatives=1))


def test_a_curve_is_in_the_order_of_its_setting():
    line = curve("skip-n", "n", [(10, measured(0.4)), (2, measured(0.8))], default=10)
    assert [(each.value, each.is_default, each.leak, each.served) for each in line.points] == [(2, False, 1.0, 1.0), (10, True, 1.0, 1.0)]
    assert [each.hardness for each in line.points] == [pytest.approx(0.8), pytest.approx(0.4)]
    words = curve("nv", "method", [("shifted", measured(0.4)), ("absolute", measured(0.8)), (None, measured(0.5))])
    assert [each.value for each in words.points] == ["shifted", "absolute", None]
    table = curve_table([line, words])
    assert table.schema == CURVES
    assert table["value"].to_pylist() == ["2", "10", "shifted", "absolute", None]


def test_without_a_truth_there_is_no_leak():
    found = measure(decisions(("main", "a", "p", "positive")), candidates(("a", "p", 0.9)), None, MeasureSettings())
    alone = CurvePoint.of(found)
    assert (alone.leak, alone.hardness, alone.gradient_leak, alone.estimated) == (None, None, None, None)
    assert at_yield(Curve(family="x", points=(alone,)), 0.0) is None


def test_equal_yield_is_the_hardest_setting_that_serves_enough():
    """0.95 lies halfway between 0.96 and 0.94: hardness 0.6, leak 0.15, setting 1.5."""
    line = Curve(family="x", points=(point(0.5, 0.1, 0.96, 1), point(0.7, 0.2, 0.94, 2)))
    found = at_yield(line)
    assert (found.hardness, found.leak, found.value, found.served) == tuple(pytest.approx(number) for number in (0.6, 0.15, 1.5, 0.95))
    assert found.interpolated
    assert at_yield(Curve(family="x", points=(point(0.5, 0.1, 0.99), point(0.4, 0.2, 0.99)))).hardness == 0.5
    assert at_yield(Curve(family="x", points=(point(0.5, 0.1, 0.5),))) is None


def test_equal_hardness_interpolates_between_settings_that_serve_enough():
    line = Curve(family="x", points=(point(0.4, 0.1), point(0.6, 0.3), point(0.8, 0.9, 0.5)))
    assert at_hardness(line, 0.5).leak == pytest.approx(0.2)
    assert at_hardness(line, 0.6).leak == 0.3
    assert at_hardness(line, 0.7) is None
    assert at_hardness(line, 0.2) is None


def test_the_front_holds_what_nothing_beats():
    points = [point(0.7, 0.5), point(0.6, 0.1), point(0.6, 0.2), point(0.5, 0.1), point(0.4, 0.0), point(0.9, None), point(0.8, 0.4, 0.5)]
    assert pareto(points) == [6, 1, 4]
    assert pareto(points, served=0.95) == [0, 1, 4]
    assert pareto([point(0.5, 0.1), point(0.5, 0.1)]) == [0, 1]
    assert pareto([]) == []
