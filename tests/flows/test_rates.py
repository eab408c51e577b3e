"""What is said of a rate, in one wording everywhere: a teacher that was fitted on labels gives no count."""

import pytest

from flows.deployed.approval import told_rate
from flows.deployed.artifacts import estimates_lines
from flows.rates import in_words, rate, shown, teacher_warnings
from flows.results import SelectionResult
from tasks.audit.tables import column_comment
from tasks.calibration import ON_LABELS, ON_REVIEW
from tasks.compare.advice import advise
from tasks.compare.families import LEAK_WORDS
from tasks.compare.tables import terminal_rows
from tasks.compare.yields import YieldSettings, yield_curve
from tests.compare.test_yields import judged_round
from tests.report.build import outcome

TEACHER = {"calibrated_teacher": [0.125, 0.1, 0.15, 80, "mean probability"]}
BY_LABELS = {"estimates": TEACHER, "negatives": 100}
BY_REVIEW = {**BY_LABELS, "calibration": {"verdict": "can tell"}}


def selection(measures):
    empty = {"decisions": {}, "reasons": {}, "negatives_per_row": {}, "shards": {}, "gate": {}}
    return SelectionResult(recipe="top", selection_id="s", measures=measures, **empty)


def everywhere(measures):
    """The terminal, the UI's summary and the question before publishing."""
    yield from shown(measures).values()
    yield "\n".join(estimates_lines([selection(measures)]))
    yield told_rate(measures, ("calibrated_teacher", 0.125), 0.05)


def test_the_teacher_by_labels_is_no_count_wherever_its_mean_is_shown():
    assert all(ON_LABELS in text for text in everywhere(BY_LABELS))
    assert all(ON_REVIEW in text and "no count" not in text for text in everywhere(BY_REVIEW))
    assert told_rate(BY_LABELS, ("calibrated_teacher", 0.125), 0.05).endswith("no count): 12.5 %, the limit is 5.0 %")
    assert in_words("judged", reviewed=False) == in_words("judged", reviewed=True) == "false negatives, judged (exact)"
    # comparisons, plots and advice go by the scored table, which is fitted on labels
    assert ON_LABELS in LEAK_WORDS["estimated"]
    assert "teacher (no count)" in terminal_rows([outcome("top", judged=False)])[0]
    curve = yield_curve(judged_round(), "teacher_sigmoid", YieldSettings(num_negatives=2, depth=10), [1.0])
    assert ON_LABELS in advise(curve, 1.0, min_yield=0.5).statement
    assert ON_LABELS in column_comment("teacher_calibrated") and ON_LABELS in column_comment("probability")


def test_negatives_without_a_score_are_named():
    """80 of 100 negatives have a score: 20 % are not in the mean."""
    assert rate(BY_LABELS, "calibrated_teacher") == "12.5 % (10.0 – 15.0; 80 pairs; without 20.0 %, which have no score)"
    assert rate({**BY_LABELS, "negatives": 80}, "calibrated_teacher") == "12.5 % (10.0 – 15.0; 80 pairs)"
    reviewed = {"estimates": {"review": [0.5, 0.25, 0.75, 40, ""]}, "negatives": 100}
    assert rate(reviewed, "review") == "50.0 % (25.0 – 75.0; 40 pairs)"  # a sample stands for all


@pytest.mark.parametrize(
    ("facts", "verdict", "by_review", "told"),
    [
        ({}, "can tell", None, ""),
        ({}, "cannot tell", None, "the teacher cannot tell labelled documents from other candidates (AUC 0.52)"),
        ({"auc_after": 0.6}, "can tell", None, "the teacher hardly tells relevant from not (AUC 0.60 on held-out queries)"),
        ({"auc_after": 0.9}, "can tell", "cannot tell", "by the review the teacher cannot tell relevant from not"),
        ({"auc_after": 0.6}, "cannot tell", "can tell", ""),  # a review knows better
    ],
)
def test_a_teacher_that_cannot_tell_is_warned_of(facts, verdict, by_review, told):
    found = list(teacher_warnings(facts, 0.7, {"verdict": verdict, "auc": 0.52}, by_review))
    assert len(found) == bool(told) and all(one.startswith(told) and "do not trust its scores" in one for one in found)


def test_columns_say_what_they_hold_in_their_table():
    assert column_comment("reason", "rejected_input") == "Why the line was set aside."
    assert column_comment("reason", "rejections") == column_comment("reason", "rejections_by_reason")
    assert column_comment("reason", "decisions") == "The first of reasons."
    estimator = column_comment("estimator")
    assert "review_design" in estimator and "planted_survival_weighted" in estimator
