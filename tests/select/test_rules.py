import pytest

from tasks.select.recipe import Recipe
from tasks.select.rules.angles import Angle
from tasks.select.rules.copies import Duplicate, NearDuplicate, NearDuplicateCosine
from tasks.select.rules.evidence import LikelyRelevant
from tasks.select.rules.free import Where
from tasks.select.rules.groups import OtherCluster, SameGroup
from tasks.select.rules.judged import JudgedRelevant
from tasks.select.rules.lists import BelowMean, Quantile
from tasks.select.rules.ranks import RankRange, RankSkip
from tasks.select.rules.registry import RULES
from tasks.select.rules.scores import AbsoluteMargin, MaxScore, MiddleBand, MinScore, RelativeMargin, TeacherCeiling, Window
from tasks.select.rules.texts import AnswerMatch, Language, TokenLimit
from tasks.select.stage import select
from tests.select.tables import SOURCES, positive, ranked, table

SCORES = [0.9, 0.8, 0.7, 0.6, 0.5]


def reasons(rule, rows, **recipe):
    composed = Recipe(rules=(rule,), **recipe)
    decisions, _ = select(table(rows, features=composed.needs.features), composed, SOURCES, 0, "s")
    return {row["doc_id"]: row["reasons"] for row in decisions.to_pylist()}


def dropped(rule, rows):
    return {doc for doc, found in reasons(rule, rows).items() if found}


CASES = [
    (RankSkip(n=2, on_null="keep"), {"d1", "d2"}),
    (RankRange(range_min=1, range_max=3, on_null="keep"), {"d1", "d4", "d5"}),
    (MaxScore(value=0.7, on_null="keep"), {"d1", "d2"}),
    (MinScore(value=0.6, on_null="keep"), {"d5"}),
    (AbsoluteMargin(margin=0.1, on_null="keep"), {"d1", "d2", "d3"}),  # s + 0.1 > 0.75
    (RelativeMargin(margin=0.2, on_null="keep"), {"d1", "d2", "d3"}),  # s > 0.75 - 0.15 = 0.6
    (Window(margin=0.1, on_null="keep"), {"d1", "d4", "d5"}),  # keeps 0.65 … 0.85
    (TeacherCeiling(score="dense_score", ceiling=0.6, on_null="keep"), {"d1", "d2", "d3", "d4"}),
    (MiddleBand(score="dense_score", low=0.5, high=0.8, on_null="keep"), {"d1", "d2", "d5"}),
    # acos of .9 .8 .7 .6 .5 and of the positive's .75, in degrees: 25.8 36.9 45.6 53.1 60.0 and 41.4
    (Angle(boundary=12, on_null="keep"), {"d1", "d5"}),  # differences 15.6 4.5 4.2 11.7 18.6
    (Quantile(low=0.25, high=0.75, on_null="keep"), {"d1", "d5"}),  # of the five unlabelled: 0.6 and 0.8, both kept
    (Quantile(high=0.9, on_null="keep"), {"d1"}),  # 0.8 + 0.6 · 0.1 = 0.86
    (Quantile(high=0.5, depth=3, on_null="keep"), {"d1"}),  # median of .9 .8 .7; lower ranks are under it too
    (BelowMean(depth=4, on_null="keep"), {"d1", "d2"}),  # mean of .9 .8 .7 .6: 0.75
    (Where(predicate="dense_score < 0.65", on_null="reject"), {"d1", "d2", "d3"}),
]


@pytest.mark.parametrize(("rule", "expected"), CASES, ids=lambda case: getattr(case, "kind", ""))
def test_each_rule_drops_what_its_formula_says(rule, expected):
    rows = [*ranked(SCORES), {"doc_id": "p", "is_positive": True, "relevance": 1, "dense_score": 0.75, "dense_rank": 9}]
    assert dropped(rule, rows) == expected


def test_margins_with_negative_scores_follow_the_magnitude():
    """relative_margin: s > p - |p|·m. With p = -2 and m = 0.5 the threshold is -3."""
    rows = [*ranked([-2.5, -3.5]), {"doc_id": "p", "is_positive": True, "dense_score": -2.0}]
    assert dropped(RelativeMargin(margin=0.5, on_null="keep"), rows) == {"d1"}


def test_positive_min_mean_max_and_own():
    rows = [*ranked([0.75, 0.55, 0.35]), *({"doc_id": f"p{s}", "is_positive": True, "dense_score": s / 10} for s in (4, 8))]
    for statistic, expected in (("min", {"d1", "d2"}), ("mean", {"d1"}), ("max", set())):
        assert dropped(AbsoluteMargin(margin=0.0, positive=statistic, on_null="keep"), rows) == expected
    own = Recipe(rules=(AbsoluteMargin(margin=0.0, positive="own", on_null="keep"),), num_negatives=3)
    decisions, layout = select(table(rows), own, SOURCES, 0, "s")
    kept = {(row["positive_id"], row["doc_id"]) for row in decisions.to_pylist() if row["decision"] == "negative"}
    assert kept == {("p4", "d3"), ("p8", "d1"), ("p8", "d2"), ("p8", "d3")}
    assert {(row["positive_id"], row["doc_id"]) for row in layout.to_pylist() if row["slot"] > 0} == kept


def test_null_means_what_on_null_says():
    rows = [{"doc_id": "a", "dense_score": 0.5}, {"doc_id": "b", "dense_score": 0.4, "teacher_sigmoid": 0.9}]
    ceiling = {"ceiling": 0.5}
    assert reasons(TeacherCeiling(on_null="keep", **ceiling), rows) == {"a": [], "b": ["teacher_ceiling"]}
    assert reasons(TeacherCeiling(on_null="reject", **ceiling), rows) == {"a": ["unscored"], "b": ["teacher_ceiling"]}
    assert reasons(RankSkip(source="bm25", n=1, on_null="reject"), rows)["a"] == ["not_retrieved_bm25"]
    assert reasons(AbsoluteMargin(margin=0.1, on_null="reject"), rows)["a"] == ["no_positive_score"]
    with pytest.raises(ValueError, match="on_null"):
        MaxScore(value=1.0)


def test_copies_and_near_copies():
    rows = [
        {"doc_id": "a", "copy_of": "positive"},
        {"doc_id": "b", "norm_copy_of": "query"},
        {"doc_id": "c", "positive_containment": 0.95},
        {"doc_id": "d", "positive_containment": 0.5},
    ]
    assert dropped(Duplicate(), rows) == {"a", "b"}
    assert dropped(Duplicate(match="exact"), rows) == {"a"}
    assert dropped(Duplicate(of=("positive",)), rows) == {"a"}
    assert dropped(NearDuplicate(containment=0.9), rows) == {"c"}


def test_all_reasons_are_kept_in_the_rules_order_and_the_first_is_the_reason():
    recipe = Recipe(rules=(MaxScore(value=0.5, on_null="keep"), RankSkip(n=5, on_null="keep")))
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
        Recipe(rules=(MaxScore(value=1, on_null="keep"), MaxScore(value=2, score="bm25_score", on_null="keep")))


def test_answers():
    """NULL: the query has none."""
    rows = [{"doc_id": doc, "answer_match": match} for doc, match in (("a", True), ("b", False), ("c", None))]
    assert reasons(AnswerMatch(on_null="keep"), rows) == {"a": ["answer_match"], "b": [], "c": []}
    assert reasons(AnswerMatch(on_null="reject"), rows) == {"a": ["answer_match"], "b": [], "c": ["no_answers"]}


def test_token_limits_hold_at_their_ends():
    rows = [{"doc_id": str(tokens), "doc_tokens": tokens} for tokens in (4, 5, 9, 10)]
    assert dropped(TokenLimit(min_tokens=5, max_tokens=9), rows) == {"4", "10"}
    assert dropped(TokenLimit(max_tokens=9), rows) == {"10"}
    with pytest.raises(ValueError, match="set min_tokens"):
        TokenLimit()


def test_languages():
    rows = [{"doc_id": code or "none", "doc_language": code, "query_language": "de"} for code in ("de", "en", "fr", None)]
    rule = {"on_null": "reject"}
    assert reasons(Language(languages="same", **rule), rows) == {"de": [], "en": ["language"], "fr": ["language"], "none": ["no_language"]}
    assert dropped(Language(languages="cross", **rule), rows) == {"de", "none"}
    assert dropped(Language(languages=("de", "fr"), on_null="keep"), rows) == {"en"}
    with pytest.raises(ValueError, match="languages"):
        Language(languages=(), on_null="keep")


def test_clusters_and_parents():
    rows = [
        {"doc_id": doc, "in_positive_cluster": same, "in_positive_group": same} for doc, same in (("a", True), ("b", False), ("c", None))
    ]
    assert reasons(OtherCluster(on_null="reject"), rows) == {"a": ["other_cluster"], "b": [], "c": ["no_cluster"]}
    assert reasons(SameGroup(on_null="keep"), rows) == {"a": ["same_group"], "b": [], "c": []}
    assert reasons(SameGroup(action="keep", on_null="reject"), rows) == {"a": [], "b": ["other_group"], "c": ["no_group"]}


def test_lists_leave_out_positives_and_other_queries():
    """Mean of q's unlabelled: (0.5 + 0.25) / 2 = 0.375; with the positive it would be 0.58, with r's 0.44."""
    rows = [*ranked([0.5, 0.25]), positive(1.0), *({**row, "query_id": "r"} for row in ranked([0.75, 0.25]))]
    decisions, _ = select(table(rows), Recipe(rules=(BelowMean(on_null="reject"),)), SOURCES, 0, "s")
    rejected = [(row["query_id"], row["doc_id"]) for row in decisions.to_pylist() if row["reason"] == "below_mean"]
    assert rejected == [("q", "d1"), ("r", "d1")]


def test_a_quantile_rule_needs_a_range():
    with pytest.raises(ValueError, match="must be under"):
        Quantile(low=0.5, high=0.5, on_null="keep")


def test_labels_and_teacher_speak_together():
    """r = evidence + 0.1 · (logit − 2). d2 .8 + 0 = .8; d3 .9 − .2 = .7; d4 unscored, 3 behind: 1 − .3 = .7; d5 NULL."""
    rows = ranked(SCORES, positives=("d1",), label_evidence=[None, 0.8, 0.9, 1.0, None], teacher_logit=[2.0, 2.0, 0.0, None, 9.0])
    rule = {"ceiling": 0.75, "teacher_weight": 0.1, "unscored": 3.0}
    assert dropped(LikelyRelevant(**rule, on_null="keep"), rows) == {"d2"}
    found = reasons(LikelyRelevant(**rule, on_null="reject"), rows)
    assert (found["d1"], found["d2"], found["d3"], found["d5"]) == ([], ["likely_relevant"], [], ["no_evidence"])


def test_what_a_judge_calls_relevant_is_dropped():
    rows = ranked(SCORES, positives=("d1",), judge_relevance=[None, 0.5, 0.49, None, 1.0])
    assert dropped(JudgedRelevant(on_null="keep"), rows) == {"d2", "d5"}
    found = reasons(JudgedRelevant(threshold=0.6, on_null="reject"), rows)
    assert (found["d2"], found["d4"], found["d5"]) == ([], ["unjudged"], ["judged_relevant"])


def test_every_rule_of_the_registry_is_tested():
    tested = {type(rule) for rule, _ in CASES} | {Duplicate, NearDuplicate, NearDuplicateCosine}
    tested |= {AnswerMatch, TokenLimit, Language, OtherCluster, SameGroup, LikelyRelevant, JudgedRelevant}
    assert tested == set(RULES)
