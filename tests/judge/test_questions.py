"""What a judge is shown, what its answers mean, which settings make sense."""

import pytest
from pydantic import ValidationError

from tasks.judge.questions import Verdict, judge_prompt, judge_questions
from tasks.judge.settings import JudgeSettings

SETTINGS = JudgeSettings.model_validate({"cheap": {"model": "m"}})


@pytest.mark.parametrize(("relevant", "confidence", "relevance"), [(True, 1, 1), (True, 0.6, 0.6), (False, 1, 0), (False, 0.6, 0.4)])
def test_a_verdict_is_a_relevance(relevant, confidence, relevance):
    assert Verdict(relevant=relevant, confidence=confidence).relevance == pytest.approx(relevance)


@pytest.mark.parametrize("wrong", [{"relevant": True, "confidence": 1.5}, {"confidence": 1}, {"relevant": "perhaps"}])
def test_a_verdict_of_another_form_is_none(wrong):
    with pytest.raises(ValidationError):
        Verdict.model_validate(wrong)


def test_a_question_shows_query_positive_and_document_apart():
    (question,) = judge_questions(judge_prompt(SETTINGS), SETTINGS, ["why?"], ["a known one"], ["this one {{query}}"])
    system, user = question.messages
    assert (system["role"], user["role"], question.prompt.split("@")[0]) == ("system", "user", "judge-pair-1")
    assert user["content"] == (
        "Query:\nwhy?\n\nA document that is known to be relevant:\na known one\n\nThe document to judge:\nthis one {{query}}"
    )


def test_texts_are_cut_and_the_instruction_is_put_in(tmp_path):
    path = tmp_path / "own-1.txt"
    path.write_text("[user]\n{{instruction}}|{{query}}|{{positive}}|{{document}}")
    chosen = SETTINGS.model_copy(update={"prompt": str(path), "max_characters": 3, "instruction": "be strict"})
    (question,) = judge_questions(judge_prompt(chosen), chosen, ["query"], [""], ["document"])
    assert question.messages[0]["content"] == "be strict|que||doc"


@pytest.mark.parametrize(("given", "words"), [
    ({}, "give a judge"),
    ({"cheap": {"model": "m"}, "action": "relabel", "relabel_from": 0.3}, "relabel_from 0.3 is below threshold 0.5"),
    ({"cheap": {"model": "m"}, "labels": True}, "labels goes with action: relabel"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(given, words):
    with pytest.raises(ValidationError, match=words):
        JudgeSettings.model_validate(given)


def test_the_judges_are_those_that_are_given():
    both = JudgeSettings.model_validate({"cheap": {"model": "a"}, "strong": {"model": "b"}})
    assert [judge.model for judge in both.judges] == ["a", "b"]
    assert [judge.model for judge in SETTINGS.judges] == ["m"]
