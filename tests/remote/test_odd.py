"""What comes with status 200 and is no answer, and batch lines of any shape."""

import json

import pytest

from tasks.errors import ModelError
from tasks.models.fingerprint import document_spec, teacher_spec
from tasks.models.remote import RemoteEmbedder, RemoteReranker
from tasks.models.settings import ModelSettings, TeacherSettings
from tasks.remote.ask import ask
from tasks.remote.batch import Export, Exported, import_answers
from tests.remote.server import Behaviour, Endpoint, serving
from tests.remote.test_ask import GOOD, Verdict, questions, settings, storage

assert storage  # a fixture

NONE = ["<!doctype html><html><body>Welcome</body></html>", '"a text"', "3", "[]", "[1]", "null", "{}", '{"choices": null}',
        '{"choices": []}', '{"choices": "no"}', '{"choices": {"message": 1}}', '{"error": {"message": "busy"}}', ""]  # fmt: skip
EMPTY = [{"message": None}, {}, None, {"message": {"content": None}}, {"message": {"content": 5}}, {"message": []}, {"text": "old"}]


@pytest.mark.parametrize("raw", NONE)
@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_a_page_or_any_json_with_status_200_is_no_traceback(storage, raw, kind):
    with serving(Endpoint(lambda messages, times: Behaviour(raw=raw, headers={"content-type": kind}))) as endpoint:
        found = ask(storage, settings(endpoint, retries=1, backoff=0), questions(1), Verdict)
        assert (found.open, endpoint.calls, list(found.failures)) == (1, 2, [0])
        assert found.failures[0].startswith(("an answer", "broken answer"))
        if raw.startswith("<") and kind == "text/html":
            assert "HTML: does the url end where the API begins" in found.failures[0]


@pytest.mark.parametrize("choice", EMPTY)
def test_an_answer_without_a_message_is_malformed_and_paid(storage, choice):
    raw = json.dumps({"model": "m", "choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})
    with serving(Endpoint(lambda messages, times: Behaviour(raw=raw))) as endpoint:
        found = ask(storage, settings(endpoint), questions(1), Verdict)
        assert (found.answers[0].status, endpoint.calls) == ("malformed", 2)
        assert (found.answers[0].prompt_tokens, found.answers[0].completion_tokens) == (14, 6)


def test_half_characters_and_odd_counts_are_kept_as_they_can_be(storage):
    message = {"content": '{"relevant": true, "confidence": 0.5, "x": "\ud800"}'}
    raw = json.dumps({"model": ["m"], "choices": [{"message": message}], "usage": {"prompt_tokens": "many", "completion_tokens": -4}})
    with serving(Endpoint(lambda messages, times: Behaviour(raw=raw))) as endpoint:
        found = ask(storage, settings(endpoint), questions(1), Verdict)
        assert (found.answers[0].status, found.answers[0].model, found.forms[0].confidence) == ("ok", "", 0.5)
        assert found.answers[0].prompt_tokens > 0  # nothing is told: four bytes are a token


@pytest.mark.parametrize("raw", ["<html>", "3", "[[null]]", '[["a"]]', "[{}]", '{"data": [3]}', '{"data": [{"embedding": null}]}',
                                 '{"data": [{"embedding": {"a": 1}}], "usage": 4}', '{"data": null}', "null"])  # fmt: skip
@pytest.mark.parametrize("api", ["openai", "tei", "rerank"])
def test_models_behind_an_endpoint_that_gives_anything_else_are_named(storage, raw, api):
    odd = Behaviour(raw=raw, headers={"content-type": "text/html" if raw == "<html>" else "application/json"})
    with serving(Endpoint(embed=lambda texts, body, times: odd, rerank=lambda query, texts, times: odd)) as endpoint:
        given = {"api": "tei" if api == "rerank" else api, "url": endpoint.url, "retries": 0}
        with pytest.raises(ModelError, match=f"at {endpoint.url}: "):
            if api == "rerank":
                RemoteReranker(storage, teacher_spec(TeacherSettings(path="m", remote=given)))
            else:
                RemoteEmbedder(storage, document_spec(ModelSettings(path="m", remote=given)))


ODD_LINES = ["[]", '"text"', "7", "null", "{}", '{"custom_id": 7}', '{"custom_id": null, "response": {}}', "[" * 100_000]
ODD_RESPONSES = [[], "text", 7, None, {}, {"status_code": "oh"}, {"status_code": 200}, {"status_code": 200, "body": "<html>"},
                 {"status_code": 200, "body": []}, {"status_code": 200, "body": {"choices": [{"message": None}]}},
                 {"status_code": 200, "body": {"choices": [{"message": {"content": {"a": 1}}}], "usage": "none"}},
                 {"status_code": 200, "body": {"choices": [{"message": {"content": GOOD}}], "usage": {"prompt_tokens": "x"}, "model": 3}},
                 {"status_code": [400], "body": 3}]  # fmt: skip


def test_batch_lines_of_any_shape_are_set_aside_with_line_and_reason(storage, tmp_path):
    class Nowhere:
        url = "http://127.0.0.1:9"

    prompts, output = tmp_path / "p.jsonl", tmp_path / "o.jsonl"
    with pytest.raises(Exported):
        ask(storage, settings(Nowhere), questions(len(ODD_RESPONSES)), Verdict, export=Export(prompts, "toy", 1, "judge"))
    ids = [json.loads(line)["custom_id"] for line in prompts.read_text().splitlines()]
    rows = [json.dumps({"custom_id": key, "response": one}) for key, one in zip(ids, ODD_RESPONSES, strict=True)]
    output.write_text("\n".join([*ODD_LINES, *rows]))
    taken = import_answers(storage, [output], {"Verdict": Verdict})
    places = [line.removeprefix(f"{output}:").partition(": ") for line in taken.aside]
    assert [int(place) for place, _, _ in places] == [*range(1, 9), 15, 16, 17]
    assert all("no custom_id" in why or "no chat completion" in why or "not a line of JSON" in why for _, _, why in places)
    assert "HTML" in places[9][2]
    assert (taken.left, dict(taken.by_status)) == (7, {"malformed": 2, "ok": 1})
