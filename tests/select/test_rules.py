import pytest

from tasks.select import rules
from tasks.select.recipe import Recipe
from tasks.select.stage import select
from tests.select.tables import SOURCES, ranked, table

SCORES = [0.9, 0.8, 0.7, 0.6, 0.5]


def reasons(rule, rows, **recipe):
    decisions, _ = select(table(rows), Recipe(rules=(rule,), **recipe), SOURCES, 0, "s")
    return {row["doc_id"]: row["reasons"] for row in decisions.to_pylist()}


def dropped(rule, rows):
    return {doc for doc, found in reasons(rule, rows).items() if found}


CASES = [
    (rules.RankSkip(n=2, on_null="keep"), {"d1", "d2"}),
    (rules.RankRange(range_min=1, range_max=3, on_null="keep"), {"d1", "d4", "d5"}),
    (rules.MaxScore(value=0.7, on_null="keep"), {"d1", "d2"}),
    (rules.MinScore(value=0.6, on_null="keep"), {"d5"}),
    (rules.AbsoluteMargin(margin=0.1, on_null="keep"), {"d1", "d2", "d3"}),  # s + 0.1 > 0.75
    (rules.RelativeMargin(margin=0.2, on_null="keep"), {"d1", "d2", "d3"}),  # s > 0.75 - 0.15 = 0.6
    (rules.Window(margin=0.1, on_null="keep"), {"d1", "d4", "d5"}),  # keeps 0.65 … 0.85
    (rules.TeacherCeiling(score="dense_score", ceiling=0.6, on_null="keep"), {"d1", "d2", "d3", "d4"}),
    (rules.MiddleBand(score="dense_score", low=0.5, high=0.8, on_null="keep"), {"d1", "d2", "d5"}),
    (rules.Where(predicate="dense_score < 0.65", on_null="reject"), {"d1", "d2", "d3"}),
]


@pytest.mark.parametrize(("rule", "expected"), CASES, ids=lambda case: getattr(case, "kind", ""))
def test_each_rule_drops_what_its_formula_says(rule, expected):
    rows = [*ranked(SCORES), {"doc_id": "p", "is_positive": True, "relevance": 1, "dense_score": 0.75, "dense_rank": 9}]
    assert dropped(rule, rows) == expected


def test_margins_with_negative_scores_follow_the_magnitude():
    """relative_margin: s > p - |p|·m. With p = -2 and m = 0.5 the threshold is -3."""
    rows = [*ranked([-2.5, -3.5]), {"doc_id": "p", "is_positive": True, "dense_score": -2.0}]
    assert dropped(rules.RelativeMargin(margin=0.5, on_null="keep"), rows) == {"d1"}


def test_positive_min_mean_max_and_own():
    rows = [*ranked([0.75, 0.55, 0.35]), *({"doc_id": f"p{s}", "is_positive": True, "dense_score": s / 10} for s in (4, 8))]
    for positive, expected in (("min", {"d1", "d2"}), ("mean", {"d1"}), ("max", set())):
        assert dropped(rules.AbsoluteMargin(margin=0.0, positive=positive, on_null="keep"), rows) == expected
    own = Recipe(rules=(rules.AbsoluteMargin(margin=0.0, positive="own", on_null="keep"),), num_negatives=3)
    decisions, layout = select(table(rows), own, SOURCES, 0, "s")
    kept = {(row["positive_id"], row["doc_id"]) for row in decisions.to_pylist() if row["decision"] == "negative"}
    assert kept == {("p4", "d3"), ("p8", "d1"), ("p8", "d2"), ("p8", "d3")}
    assert {(row["positive_id"], row["doc_id"]) for row in layout.to_pylist() if row["slot"] > 0} == kept


def test_null_means_what_on_null_says():
    rows = [{"doc_id": "a", "dense_score": 0.5}, {"doc_id": "b", "dense_score": 0.4, "teacher_sigmoid": 0.9}]
    ceiling = {"ceiling": 0.5}
    assert reasons(rules.TeacherCeiling(on_null="keep", **ceiling), rows) == {"a": [], "b": ["teacher_ceiling"]}
    assert reasons(rules.TeacherCeiling(on_null="reject", **ceiling), rows) == {"a": ["unscored"], "b": ["teacher_ceiling"]}
    assert reasons(rules.RankSkip(source="bm25", n=1, on_null="reject"), rows)["a"] == ["not_retrieved_bm25"]
    assert reasons(rules.AbsoluteMargin(margin=0.1, on_null="reject"), rows)["a"] == ["no_positive_score"]
    with pytest.raises(ValueError, match="on_null"):
        rules.MaxScore(value=1.0)


def test_copies_and_near_copies():
    rows = [
        {"doc_id": "a", "copy_of": "positive"},
        {"doc_id": "b", "norm_copy_of": "query"},
        {"doc_id": "c", "positive_containment": 0.95},
        {"doc_id": "d", "positive_containment": 0.5},
    ]
    assert dropped(rules.Duplicate(), rows) == {"a", "b"}
    assert dropped(rules.Duplicate(match="exact"), rows) == {"a"}
    assert dropped(rules.Duplicate(of=("positive",)), rows) == {"a"}
    assert dropped(rules.NearDuplicate(containment=0.9), rows) == {"c"}


def test_all_reasons_are_kept_in_the_rules_order_and_the_first_is_the_reason():
    recipe = Recipe(rules=(rules.MaxScore(value=0.5, on_null="keep"), rules.RankSkip(n=5, on_null="keep")))
    decisions, _ = select(table(ranked([0.9])), recipe, SOURCES, 0, "s")
    row = decisions.to_pylist()[0]
    assert (row["decision"], row["reason"], row["reasons"]) == ("rejected", "max_score", ["max_score", "rank_skip"])


def test_lower_grades_are_neither_positive_nor_negative():
    rows = [{"doc_id": "a", "relevance": 1, "dense_score": 0.9}, {"doc_id": "b", "dense_score": 0.8}]
    decisions, _ = select(table(rows), Recipe(num_negatives=2), SOURCES, 0, "s")
    assert {row["doc_id"]: (row["decision"], row["reason"]) for row in decisions.to_pylist()} == {
        "a": ("rejected", "labelled"),
        "b": ("negative", "drawn"),
    }


def test_rules_of_one_reason_need_names():
    with pytest.raises(ValueError, match="set `reason`"):
        Recipe(rules=(rules.MaxScore(value=1, on_null="keep"), rules.MaxScore(value=2, score="bm25_score", on_null="keep")))


def test_every_rule_of_the_registry_is_tested():
    tested = {type(rule) for rule, _ in CASES} | {rules.Duplicate, rules.NearDuplicate, rules.NearDuplicateCosine}
    assert tested == set(rules.RULES)
