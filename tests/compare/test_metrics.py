from math import exp

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.compare.metrics import measure
from tasks.compare.settings import MeasureSettings
from tasks.compare.truth import Truth
from tasks.errors import InputError
from tasks.intervals import proportion
from tasks.select.draws import Draw
from tasks.select.recipe import Recipe
from tests.compare.build import candidates, decisions, truth

TWO = MeasureSettings(num_negatives=2)


def two_queries():
    """a: n1 and n2 (drawn by backfill), fully served; b: n1 alone, partly served; c: nothing."""
    selection = decisions(
        ("main", "a", "p", "positive"),
        ("main", "a", "n1", "negative", {"weight": 0.5}),
        ("main", "a", "n2", "negative", {"draw": "backfill"}),
        ("main", "a", "x", "rejected"),
        ("main", "b", "p", "positive"),
        ("main", "b", "n1", "negative"),
        ("main", "c", "p", "positive"),
        ("main", "unlabelled", "n1", "negative"),
    )
    scored = candidates(
        ("a", "p", 0.9),
        ("a", "n1", 0.8, {"teacher_sigmoid": 0.4, "teacher_logit": -1.0, "teacher_calibrated": 0.2, "fixed_score": 0.5}),
        ("a", "n2", 0.6, {"teacher_sigmoid": 0.2, "teacher_logit": -3.0, "teacher_calibrated": 0.1, "fixed_score": 0.3}),
        ("a", "x", 0.5),
        ("b", "p", 0.9),
        ("b", "n1", 0.7),
        ("c", "p", 0.9),
        ("unlabelled", "n1", 0.1),
    )
    return selection, scored


def test_measures_without_a_truth():
    found = measure(*two_queries(), None, TWO)
    assert (found.queries, found.rows, found.negatives) == (3, 3, 3)
    assert found.served == pytest.approx(1 / 3)
    assert found.partly_served == pytest.approx(1 / 3)
    assert found.negatives_per_query == 1.0
    assert found.backfill == pytest.approx(1 / 3)
    assert found.similarity.mean == pytest.approx((0.8 + 0.6 + 0.7) / 3)
    assert found.similarity.std == pytest.approx(np.std([0.8, 0.6, 0.7]))
    assert (found.teacher_sigmoid.mean, found.teacher_sigmoid.pairs) == (pytest.approx(0.3), 2)
    assert found.teacher_logit.mean == -2.0
    assert found.fixed_similarity.mean == pytest.approx(0.4)
    assert found.rank.mean == pytest.approx((2 + 3 + 2) / 3)
    assert (found.leak, found.judged) == (None, None)
    assert found.compared is found


def test_estimates_leave_out_what_has_none():
    found = measure(*two_queries(), None, TWO)
    assert found.estimated.value == pytest.approx((0.2 + 0.1) / 2)
    assert (found.estimated.pairs, found.estimated.queries) == (2, 1)
    assert found.weighted_estimated.value == pytest.approx((0.5 * 0.2 + 1 * 0.1) / 1.5)


def test_leak_is_measured_on_judged_queries():
    """Judged: a and b, with b/n1 relevant: 1 of 3; c/n1 is no negative, and what is relevant but not drawn does not count."""
    found = measure(*two_queries(), truth({("b", "n1"), ("a", "x"), ("a", "p")}, {"a", "b", "z"}), TWO)
    assert found.judged.queries == 2
    assert found.judged.served == 0.5
    assert found.queries == 3
    assert found.leak.total.value == pytest.approx(1 / 3)
    assert found.leak.chosen.value == 0.5  # a/n1 and b/n1
    assert found.leak.backfill.value == 0.0
    assert found.leak.weighted.value == pytest.approx(1 / (0.5 + 1 + 1))
    assert {name: (draw.negatives, draw.leaked) for name, draw in found.leak.by_draw.items()} == {"backfill": (1, 0), "draw": (2, 1)}
    # p at τ = 0.05, relative to s⁺ = 0.9: a: e^-2 and e^-6 over 1 + e^-2 + e^-6; b: e^-4 over 1 + e^-4
    a, b = (exp(-2) + exp(-6)) / (1 + exp(-2) + exp(-6)), exp(-4) / (1 + exp(-4))
    assert found.leak.gradient.value == pytest.approx(b / (a + b), rel=1e-5)
    assert found.leak.total.low <= 1 / 3 <= found.leak.total.high
    assert found.compared is found.judged


def test_one_judged_query_alone():
    found = measure(*two_queries(), truth({("a", "n1")}, {"a"}), TWO)
    assert (found.leak.total.value, found.judged.queries, found.judged.served) == (0.5, 1, 1.0)
    assert found.judged.estimated.value == pytest.approx(0.15)


def test_a_truth_without_a_query_of_the_round_is_refused():
    with pytest.raises(InputError, match="none of its judged queries"):
        measure(*two_queries(), truth({("z", "n1")}, {"z"}), TWO)


def test_stages_are_summed_over_distinct_pairs():
    """easy draws n1, n2; hard draws n2, n3 with n3 labelled as relevant: negatives n1 and n2, of which n2 weighs 1 + 3."""
    selection = decisions(
        ("easy", "a", "p", "positive"),
        ("easy", "a", "n1", "negative"),
        ("easy", "a", "n2", "negative", {"draw": "backfill"}),
        ("hard", "a", "p", "positive"),
        ("hard", "a", "n2", "negative", {"weight": 3.0}),
        ("hard", "a", "n3", "negative", {"label": 1.0}),
    )
    scored = candidates(("a", "p", 0.9), ("a", "n1", 0.7), ("a", "n2", 0.8), ("a", "n3", 0.85))
    found = measure(selection, scored, truth({("a", "n2"), ("a", "n3")}, {"a"}), TWO)
    assert (found.rows, found.served, found.negatives, found.drawn_as_relevant) == (2, 1.0, 2, 1)
    assert found.leak.total.value == 0.5
    assert found.leak.weighted.value == pytest.approx(4 / 5)
    assert found.backfill == 0.0  # n2 was drawn once by a draw of the recipe's own
    assert {name: (draw.negatives, draw.leaked) for name, draw in found.leak.by_draw.items()} == {"backfill": (1, 1), "draw": (2, 1)}
    # rows: easy: n1 e^-4, n2 e^-2; hard: n2 alone
    easy, hard = 1 + exp(-4) + exp(-2), 1 + exp(-2)
    assert found.leak.gradient.value == pytest.approx(
        (exp(-2) / easy + exp(-2) / hard) / ((exp(-4) + exp(-2)) / easy + exp(-2) / hard), rel=1e-5
    )
    uneven = MeasureSettings(num_negatives=2, stage_negatives={"hard": 3})
    assert measure(selection, scored, None, uneven).served == 0.0


def test_negatives_of_single_positives():
    """Row p has n1 and n2, row r n1 alone; shared by no positive_id they would both have both."""
    own = decisions(
        *(("main", "a", doc, "positive", {"positive_id": anchor}) for doc in "pr" for anchor in "pr"),
        ("main", "a", "n1", "negative", {"positive_id": "p"}),
        ("main", "a", "n2", "negative", {"positive_id": "p"}),
        ("main", "a", "n1", "negative", {"positive_id": "r"}),
        ("main", "a", "n2", "rejected", {"positive_id": "r"}),
    )
    scored = candidates(("a", "p", 0.9), ("a", "r", 0.8), ("a", "n1", 0.7), ("a", "n2", 0.6))
    found = measure(own, scored, truth({("a", "n1")}, {"a"}), TWO)
    assert (found.queries, found.rows, found.negatives) == (1, 2, 2)
    assert (found.served, found.partly_served) == (0.0, 1.0)
    assert found.leak.total.value == 0.5
    assert found.leak.weighted.value == pytest.approx(2 / 3)
    row_p, row_r = 1 + exp(-4) + exp(-6), 1 + exp(-2)  # relative to s⁺ of each: 0.9 and 0.8
    n1, n2 = exp(-4) / row_p + exp(-2) / row_r, exp(-6) / row_p
    assert found.leak.gradient.value == pytest.approx(n1 / (n1 + n2), rel=1e-5)
    shared = decisions(
        ("main", "a", "p", "positive"),
        ("main", "a", "r", "pseudo_positive"),
        ("main", "a", "n1", "negative"),
        ("main", "a", "n2", "negative"),
    )
    both = measure(shared, scored, None, TWO)
    assert (both.rows, both.negatives, both.served) == (2, 2, 1.0)


def test_rows_say_what_is_trained_on():
    """Only a has a row left; b's negative stands in none."""
    selection, scored = two_queries()
    rows = pa.table({"stage": ["main"] * 3, "query_id": ["a"] * 3, "positive_id": ["p"] * 3, "slot": [0, 1, 2]})
    found = measure(selection, scored, None, TWO, rows)
    assert (found.queries, found.rows, found.negatives, found.served) == (1, 1, 2, 1.0)


def test_intervals_are_those_of_the_audit_and_queries_of_one_group_are_one_unit():
    """n1 of a is one of three negatives that leak; as one group it is one cluster of three pairs, 1 of 3."""
    selection, scored = two_queries()
    known = truth({("a", "n1")}, {"a", "b"})
    alone = measure(selection, scored, known, TWO).leak.total
    groups = pa.table({"query_id": ["a", "b"], "group": ["g", "g"]})
    together = measure(selection, scored, known, TWO, groups=groups).leak.total
    counts = {query: sum(row["query_id"] == query for row in selection.to_pylist() if row["decision"] == "negative") for query in "ab"}
    wanted = proportion([1, 0], list(counts.values()))
    assert (alone.value, alone.low, alone.high) == (wanted.estimate, wanted.low, wanted.high)
    one = proportion([1], [sum(counts.values())])
    assert (together.value, together.low, together.high) == (alone.value, one.low, one.high)
    assert together.high > alone.high


def test_weighted_pairs_count_as_equal_ones_of_kish_s_number():
    """Weights 1 and 3: (1 + 3)² ÷ (1 + 9) = 1.6 pairs, of which 1.2 leak."""
    selection = decisions(
        ("main", "a", "p", "positive"),
        ("main", "a", "n1", "negative", {"weight": 1.0}),
        ("main", "a", "n2", "negative", {"weight": 3.0}),
    )
    scored = candidates(("a", "p", 0.9), ("a", "n1", 0.7), ("a", "n2", 0.8))
    found = measure(selection, scored, truth({("a", "n2")}, {"a"}), TWO).leak.weighted
    wanted = proportion([1.2], [1.6])
    assert (found.value, found.low, found.high) == pytest.approx((wanted.estimate, wanted.low, wanted.high))


def test_a_recipe_without_negatives():
    selection = decisions(("main", "a", "p", "positive"), ("main", "a", "n", "not_drawn"))
    scored = candidates(("a", "p", 0.9), ("a", "n", 0.8)).select(["query_id", "doc_id", "dense_score"])
    found = measure(selection, scored, truth({("a", "n")}, {"a"}), MeasureSettings(num_negatives=0))
    assert (found.served, found.negatives, found.similarity, found.backfill, found.leak, found.estimated) == (
        1.0,
        0,
        None,
        None,
        None,
        None,
    )
    assert measure(selection, scored, None, TWO).served == 0.0


def test_columns_that_a_round_lacks_are_not_measured():
    selection, scored = two_queries()
    found = measure(selection, scored.select(["query_id", "doc_id", "dense_score"]), None, TWO)
    assert (found.fixed_similarity, found.teacher_logit, found.teacher_sigmoid, found.rank, found.estimated) == (None,) * 5
    assert found.similarity.pairs == 3


def test_extreme_temperatures_do_not_overflow():
    found = measure(*two_queries(), truth({("b", "n1")}, {"a", "b"}), MeasureSettings(temperature=1e-4))
    assert found.leak.gradient is None or 0 <= found.leak.gradient.value <= 1


def test_settings_of_a_recipe():
    draws = (
        Draw(name="walk"),
        Draw(name="fill", waive=("unscored",)),
        Draw(name="hard", take=2, stage="late"),
        Draw(name="backfill", take=1, stage="late"),
    )
    found = MeasureSettings.of_recipe(Recipe(draws=draws, num_negatives=4).model_dump(mode="json"), temperature=0.1)
    assert (found.num_negatives, found.stage_negatives, found.backfill, found.temperature) == (4, {"late": 3}, ("fill", "backfill"), 0.1)
    none = MeasureSettings.of_recipe(Recipe(draws=(), num_negatives=0).model_dump(mode="json"))
    assert (none.num_negatives, none.stage_negatives, none.backfill) == (0, {}, ())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=6), st.floats(0.01, 1))
def test_with_equal_masses_the_gradient_leak_is_the_leak(relevant, temperature):
    """All similarities equal, three negatives a query: every p is the same."""
    names = [f"q{at}" for at in range(len(relevant))]
    selection = decisions(
        *(("main", query, "p", "positive") for query in names),
        *(("main", query, f"n{at}", "negative") for query in names for at in range(3)),
    )
    scored = candidates(*((query, doc, 0.5) for query in names for doc in ("n0", "n1", "n2", "p")))
    wrong = {(query, f"n{at}") for query, each in zip(names, relevant, strict=True) for at in range(3) if each[at]}
    known: Truth = truth(wrong, set(names))
    found = measure(selection, scored, known, MeasureSettings(temperature=temperature))
    assert found.leak.gradient.value == pytest.approx(len(wrong) / (3 * len(names)))
    assert found.leak.total.value == pytest.approx(found.leak.gradient.value)
    shuffled = scored.take(list(reversed(range(scored.num_rows))))
    assert (
        measure(
            selection.take(list(reversed(range(selection.num_rows)))),
            shuffled,
            known,
            MeasureSettings(temperature=temperature),
        )
        == found
    )
