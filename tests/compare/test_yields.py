import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.compare.advice import advise
from tasks.compare.yields import YieldSettings, measures, yield_curve
from tasks.errors import UsageError
from tests.compare.build import candidates, truth

POSITIVE = {"is_positive": True, "relevance": 1}
TWO = YieldSettings(num_negatives=2, depth=10)


def judged_round():
    """a: n1 .9, n2 .2, n3 .5, n4 .1 by rank; b: n1 .3, n2 none. Relevant: a/n1, a/n3."""
    return candidates(
        ("a", "p", 0.9, {**POSITIVE, "teacher_sigmoid": 0.9}),
        ("a", "n1", 0.8, {"teacher_sigmoid": 0.9, "teacher_calibrated": 0.8}),
        ("a", "n2", 0.7, {"teacher_sigmoid": 0.2, "teacher_calibrated": 0.1}),
        ("a", "n3", 0.6, {"teacher_sigmoid": 0.5, "teacher_calibrated": 0.4}),
        ("a", "n4", 0.5, {"teacher_sigmoid": 0.1, "teacher_calibrated": 0.0}),
        ("a", "copy", 0.4, {"teacher_sigmoid": 0.0, "copy_of": "positive"}),
        ("a", "zero", 0.3, {"teacher_sigmoid": 0.0, "relevance": 0}),
        ("b", "p", 0.9, POSITIVE),
        ("b", "n1", 0.8, {"teacher_sigmoid": 0.3, "teacher_calibrated": 0.2}),
        ("b", "n2", 0.7),
        ("unlabelled", "n1", 0.7, {"teacher_sigmoid": 0.0}),
    )


RELEVANT = {("a", "n1"), ("a", "n3")}


def shown(curve):
    return [(point.threshold, point.remaining, point.served, point.rate and round(point.rate.value, 6)) for point in curve.points]


def test_first_negatives_change_with_the_threshold():
    """Under 1: the first two of a are n1, n2 (one relevant), b has n1: 1/3. Under 0.6: n2, n3: 1/3. Under 0.3: n2, n4; b's 0.3 is not."""
    curve = yield_curve(judged_round(), "teacher_sigmoid", TWO, [1.0, 0.6, 0.3, 0.05], truth(RELEVANT, {"a", "b"}))
    assert (curve.queries, curve.estimator) == (2, "truth")
    third = round(1 / 3, 6)
    assert shown(curve) == [(0.05, 0.0, 0.0, None), (0.3, 1.0, 0.5, 0.0), (0.6, 2.0, 0.5, third), (1.0, 2.5, 0.5, third)]


def test_rates_are_over_judged_queries_and_yields_over_all():
    curve = yield_curve(judged_round(), "teacher_sigmoid", TWO, [1.0], truth(RELEVANT, {"a"}))
    assert shown(curve) == [(1.0, 2.5, 0.5, 0.5)]
    assert (curve.points[0].rate.pairs, curve.points[0].rate.queries) == (2, 1)


def test_the_calibrated_teacher_stands_in():
    """Under 1: 0.8, 0.1 and 0.2; under 0.6: 0.1, 0.4 and 0.2."""
    curve = yield_curve(judged_round(), "teacher_sigmoid", TWO, [0.6, 1.0])
    assert curve.estimator == "calibrated"
    assert [point.rate.value for point in curve.points] == [pytest.approx(0.7 / 3), pytest.approx(1.1 / 3)]


def test_a_missing_value_is_kept_or_rejected():
    kept = yield_curve(judged_round(), "teacher_sigmoid", TWO.model_copy(update={"on_null": "keep"}), [0.05, 1.0])
    assert [(point.remaining, point.served) for point in kept.points] == [(0.5, 0.0), (3.0, 1.0)]


def test_without_truth_and_calibration_there_is_no_rate():
    bare = judged_round().drop_columns(["teacher_calibrated", "copy_of", "norm_copy_of"])
    curve = yield_curve(bare, "teacher_sigmoid", TWO, [0.05, 1.0])
    assert curve.estimator is None
    assert [point.remaining for point in curve.points] == [0.5, 3.0]  # the copy is not known to be one
    assert "nothing tells" in advise(curve, 0.05).statement


def test_relations_to_the_positive():
    """s⁺ = 0.5: n1 0.4 is a ratio of 0.8 and a margin of -0.1. s⁺ = -0.5: -0.6 is 1 - 0.1 / 0.5 = 0.8 too. s⁺ = 0 has no ratio."""
    rows = [
        candidates((query, "p", own, {**POSITIVE, "positive_dense_score_min": own}), (query, "n", score, {"positive_dense_score_min": own}))
        for query, own, score in (("a", 0.5, 0.4), ("b", -0.5, -0.6), ("c", 0.0, 0.0))
    ]
    table = pa.concat_tables(rows)
    one = YieldSettings(num_negatives=1, depth=10)
    assert {"dense_score", "dense_score_ratio", "dense_score_margin", "dense_rank", "teacher_sigmoid_ratio"} <= set(measures(table))
    assert [point.remaining for point in yield_curve(table, "dense_score_ratio", one, [0.79, 0.81]).points] == [0.0, pytest.approx(2 / 3)]
    assert [point.served for point in yield_curve(table, "dense_score_margin", one, [-0.11, -0.05, 0.1]).points] == [
        0,
        pytest.approx(2 / 3),
        1,
    ]


def test_grids_and_mistakes():
    table = judged_round()
    assert yield_curve(table, "teacher_sigmoid", TWO).points[-1].threshold > 1
    grid = [point.threshold for point in yield_curve(table, "dense_score", TWO).points]
    assert grid == sorted(set(grid))
    assert grid[-1] > 0.8
    with pytest.raises(UsageError, match="no column 'teacher_sigmod'"):
        yield_curve(table, "teacher_sigmod", TWO)
    with pytest.raises(UsageError, match="no candidate has a value in fixed_score"):
        yield_curve(table, "fixed_score", TWO)
    with pytest.raises(UsageError, match="no thresholds"):
        yield_curve(table, "dense_score", TWO, [])


def simulated(queries, leaky):
    """Each query: ten candidates with values 0.95, 0.85 … 0.05 by rank; the first is relevant in the first ``leaky`` queries."""
    rows, relevant = [], set()
    for number in range(queries):
        query = f"q{number:03d}"
        rows.append((query, "p", 1.0, POSITIVE))
        rows += [(query, f"n{at}", 0.9 - at / 20, {"teacher_sigmoid": 0.95 - at / 10}) for at in range(10)]
        if number < leaky:
            relevant.add((query, "n0"))
    return candidates(*rows), truth(relevant | {("q000", "p")}, {f"q{number:03d}" for number in range(queries)})


def test_advice_is_the_laxest_threshold_that_holds_the_rate():
    """n0 (0.95) is relevant in all: thresholds up to it leave none, above it one of the first two is.

    None of 400 pairs, two a query: 400 ÷ (1 + 0.3) = 307.7 draws; t(199) = 1.972; t²/n = 0.01264, and 0.01264 ÷ 1.01264 = 1.2 %.
    """
    scored, known = simulated(200, 200)
    curve = yield_curve(scored, "teacher_sigmoid", TWO, [0.3, 0.5, 0.7, 0.8, 1.0], known)
    advice = advise(curve, 0.05)
    assert advice.threshold == 0.8
    assert advice.point.rate.value == 0.0
    assert advice.statement.startswith(
        "teacher_sigmoid < 0.8: 0.0 % false negatives measured (at most 1.2 %) among the first 2 kept; 100.0 %"
    )
    assert advise(curve, 0.6).threshold == 1.0
    narrow = yield_curve(scored, "teacher_sigmoid", YieldSettings(num_negatives=9, depth=20), [0.3, 0.8], known)
    assert "leave too few" in advise(narrow, 0.05).statement
    assert advise(narrow, 0.05).threshold is None


def test_advice_when_no_threshold_holds_the_rate():
    """One of two in each of 50 queries: no variance is seen, 100 ÷ 1.3 = 76.9 draws are assumed, mixed (50 + 2) ÷ (2 ÷ 76.9) = 2,000.

    Wilson's upper end at ½ of 2,000 draws, t(49) = 2.01: ½ + 2.01 · √(¼ ÷ 2,000) = 52.2 %.
    """
    scored, known = simulated(50, 50)
    curve = yield_curve(scored, "teacher_sigmoid", TWO, [1.0], known)
    advice = advise(curve, 0.05)
    assert (advice.threshold, advice.point) == (None, None)
    assert advice.statement == (
        "teacher_sigmoid: no threshold holds 5.0 % false negatives: "
        "the least is at most 52.2 %, under 1, where 100.0 % of the queries are served"
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=6), min_size=1, max_size=4), st.integers(1, 3))
def test_the_one_pass_equals_a_query_a_threshold(queries, wanted):
    rows, relevant = [], set()
    for number, each in enumerate(queries):
        rows.append((f"q{number}", "p", 1.0, POSITIVE))
        for at, (value, wrong) in enumerate(each):
            rows.append((f"q{number}", f"n{at}", 0.9 - at / 10, {"teacher_sigmoid": value / 10}))
            relevant |= {(f"q{number}", f"n{at}")} if wrong else set()
    known = truth(relevant, {f"q{number}" for number in range(len(queries))})
    grid = [0.05, 0.35, 0.65, 0.95]
    curve = yield_curve(candidates(*rows), "teacher_sigmoid", YieldSettings(num_negatives=wanted, depth=10), grid, known)
    for point in curve.points:
        kept = [[wrong for value, wrong in each if value / 10 < point.threshold] for each in queries]
        first = [wrong for each in kept for wrong in each[:wanted]]
        assert point.remaining == pytest.approx(sum(map(len, kept)) / len(queries))
        assert point.served == pytest.approx(sum(len(each) >= wanted for each in kept) / len(queries))
        assert (point.rate.value if point.rate else None) == (pytest.approx(sum(first) / len(first)) if first else None)
