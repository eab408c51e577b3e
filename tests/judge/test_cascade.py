"""The cascade on answers that are given by hand."""

import pytest

from tasks.judge.cascade import Judged, cascade
from tasks.judge.questions import Verdict
from tasks.judge.settings import JudgeSettings
from tasks.remote.answers import Answer
from tasks.remote.ask import Asked, Question

CHEAP, STRONG = {"model": "cheap"}, {"model": "strong"}


def verdict(relevance):
    """The answer that says so much."""
    return Verdict(relevant=relevance >= 0.5, confidence=max(relevance, 1 - relevance), reason=f"says {relevance}")


def asker(given, stopped=()):
    """Judges by model: of each question a relevance; ``"refused"``: no use; ``None``: not asked. What was asked is in ``seen``."""
    seen = {}

    def ask(purpose, model, questions):
        places = [int(question.messages[0]["content"]) for question in questions]
        seen[purpose] = places
        said = [given[model.model][place] for place in places]
        answers = [None if one is None else Answer(key=str(place), status="ok") for place, one in zip(places, said, strict=True)]
        forms = [verdict(one) if isinstance(one, float) else None for one in said]
        return Asked(answers, forms, stopped="the budget of calls is used up" if model.model in stopped else "")

    return ask, seen


def judged(settings, given, stopped=()):
    ask, seen = asker(given, stopped)
    count = len(next(iter(given.values())))
    questions = [Question(({"role": "user", "content": str(place)},)) for place in range(count)]
    found, why = cascade(JudgeSettings.model_validate(settings), questions, ask)
    return found, why, seen


def test_the_strong_judge_decides_on_what_the_cheap_one_flags():
    given = {"cheap": [0.1, 0.3, 0.9, 0.29], "strong": [None, 0.8, 0.2, None]}
    found, why, seen = judged({"cheap": CHEAP, "strong": STRONG, "flag": 0.3}, given)
    assert (why, seen) == ("", {"judge cheap": [0, 1, 2, 3], "judge strong": [1, 2]})
    assert [one.decided_by for one in found] == ["cheap", "strong", "strong", "cheap"]
    assert [one.relevance for one in found] == pytest.approx([0.1, 0.8, 0.2, 0.29])
    assert found[2] == Judged(relevance=pytest.approx(0.2), decided_by="strong", cheap=0.9, strong=pytest.approx(0.2), reason="says 0.2")


def test_one_judge_alone_decides():
    assert [one.decided_by for one in judged({"cheap": CHEAP}, {"cheap": [0.1, 0.9]})[0]] == ["cheap", "cheap"]
    found, _, seen = judged({"strong": STRONG}, {"strong": [0.1, 0.9]})
    assert seen == {"judge strong": [0, 1]}
    assert [(one.decided_by, one.cheap) for one in found] == [("strong", None), ("strong", None)]


def test_a_flagged_pair_that_the_strong_judge_refuses_keeps_the_cheap_ones_word():
    found, _, _ = judged({"cheap": CHEAP, "strong": STRONG}, {"cheap": [0.9], "strong": ["refused"]})
    assert (found[0].relevance, found[0].decided_by, found[0].strong) == (0.9, "cheap", None)


def test_a_flagged_pair_that_the_strong_judge_was_not_asked_about_is_undecided():
    """For want of budget, or since the endpoint gave nothing: the cheap judge's word alone is no verdict."""
    given = {"cheap": [0.9, 0.8, 0.1], "strong": [0.7, None, None]}
    for stopped in ((), ("strong",)):
        found, why, _ = judged({"cheap": CHEAP, "strong": STRONG}, given, stopped)
        assert bool(why) == bool(stopped)
        assert [one.relevance for one in found] == pytest.approx([0.7, None, 0.1])
        assert (found[1].decided_by, found[1].cheap, found[1].reason) == ("", 0.8, "")


def test_a_cheap_judge_that_is_stopped_leaves_nothing_to_the_strong_one():
    given = {"cheap": [0.9, 0.1, None, "refused"], "strong": [0.9] * 4}
    found, why, seen = judged({"cheap": CHEAP, "strong": STRONG}, given, ("cheap",))
    assert why == "the budget of calls is used up"
    assert "judge strong" not in seen
    assert [one.relevance for one in found] == [None, pytest.approx(0.1), None, None]


def test_what_the_cheap_judge_gives_no_answer_to_goes_to_the_strong_one():
    found, _, seen = judged({"cheap": CHEAP, "strong": STRONG}, {"cheap": ["refused", None], "strong": [0.9, 0.1]})
    assert seen["judge strong"] == [0, 1]
    assert [one.decided_by for one in found] == ["strong", "strong"]
    assert judged({"cheap": CHEAP}, {"cheap": ["refused"]})[0] == [Judged()]


@pytest.mark.parametrize(("flag", "asked"), [(0.0, [0, 1, 2]), (0.5, [1, 2]), (1.0, [2])])
def test_the_flag_is_a_threshold(flag, asked):
    given = {"cheap": [0.2, 0.5, 1.0], "strong": [0.5] * 3}
    assert judged({"cheap": CHEAP, "strong": STRONG, "flag": flag}, given)[2]["judge strong"] == asked
