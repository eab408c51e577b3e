"""What is not taken: a parameter, one question, or everything."""

import json

import pytest

from flows.forms import FORMS
from tasks.errors import ModelError
from tasks.remote.ask import ask, known
from tasks.remote.batch import Export, Exported, import_answers
from tasks.remote.body import request_body
from tasks.remote.budget import Budget
from tasks.remote.forms import form_schema
from tasks.remote.refused import refusal_of
from tasks.remote.settings import BudgetSettings, ChatSettings
from tests.remote.server import Behaviour, Endpoint, serving
from tests.remote.test_ask import GOOD, Verdict, number, questions, settings, storage, well

assert storage  # a fixture


def objects(schema):
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_every_form_is_a_schema_that_strict_structured_outputs_take(form):
    schema = form_schema(form)
    found = list(objects(schema))
    assert found
    for one in found:
        assert one["additionalProperties"] is False
        assert one["required"] == list(one["properties"])
    told = json.dumps(schema)
    assert not any(f'"{name}":' in told for name in ("default", "minLength", "maxLength"))
    assert all(set(one) == {"$ref"} for one in references(schema))


def references(schema):
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema
        for value in schema.values():
            yield from references(value)


def test_nested_forms_are_strict_at_each_level():
    drafts = form_schema(FORMS["Drafts"])
    assert drafts["$defs"]["Draft"]["required"] == ["title", "text", "contradicts"]
    assert drafts["properties"]["documents"] == {"items": {"$ref": "#/$defs/Draft"}, "minItems": 1, "title": "Documents", "type": "array"}


def test_openais_newest_models_get_what_they_take_and_others_what_they_know():
    messages = [{"role": "user", "content": "?"}]
    own = request_body(ChatSettings(model="gpt-5-mini"), messages, form_schema(Verdict))
    assert own.keys() == {"model", "messages", "max_completion_tokens", "response_format"}
    other = request_body(ChatSettings(model="m", url="http://localhost:8000/v1"), messages, form_schema(Verdict))
    assert other.keys() == {"model", "messages", "max_tokens", "response_format"}
    told = ChatSettings(model="m", url="http://h/v1", limit_field="max_completion_tokens", temperature=0, seed=1, reasoning_effort="low")
    assert (
        request_body(told, messages, {}).items()
        >= {"max_completion_tokens": 512, "temperature": 0, "seed": 1, "reasoning_effort": "low"}.items()
    )


#: as OpenAI, vLLM, text-generation-inference, llama.cpp and Azure write it
TOLD = [
    ({"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
      "param": "max_tokens", "code": "unsupported_parameter"}, False, "limit_field: max_completion_tokens"),
    ({"message": "Unsupported parameter: 'max_tokens' is not supported with this model."}, False, "limit_field: max_completion_tokens"),
    ({"message": "Unsupported value: 'temperature' does not support 0.0 with this model.", "param": "temperature",
      "code": "unsupported_value"}, False, "leave temperature out"),
    ({"message": "Invalid schema for response_format 'Drafts': 'default' is not permitted.", "param": "response_format"}, False,
     "json_mode"),
    ({"detail": [{"loc": ["body", "max_completion_tokens"], "msg": "Extra inputs are not permitted"}]}, False, "limit_field: max_tokens"),
    ({"message": "'max_tokens' or 'max_completion_tokens' is too large: 512. This model's maximum context length is 4096"}, True, ""),
    ({"error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000"}, True, ""),
    ({"message": "the request exceeds the available context size", "type": "exceed_context_size_error"}, True, ""),
    ({"message": "filtered", "code": "400", "innererror": {"code": "ResponsibleAIPolicyViolation"}}, True, ""),
    ({"message": "the query is what seed and temperature are unsupported by"}, False, ""),
    ({"message": ["odd"], "code": {"odd": 1}, "param": 3}, False, ""),
    (["odd"], False, ""), (None, False, ""), ("<html>", False, ""),
]  # fmt: skip


@pytest.mark.parametrize(("body", "content", "mend"), TOLD)
def test_errors_are_read_in_each_servers_words(body, content, mend):
    found = refusal_of(400, body)
    assert found.about_content is content
    assert mend in found.mend
    assert bool(mend) == bool(found.mend)
    assert found.reason.startswith("HTTP 400")


@pytest.mark.parametrize(
    ("field", "mend"), [("max_tokens", "limit_field: max_completion_tokens"), ("response_format", "json_mode: object")]
)
def test_a_setting_that_the_model_does_not_take_is_named_at_once(storage, field, mend):
    raw = json.dumps({"error": {"message": f"Unsupported parameter: '{field}'", "param": field, "code": "unsupported_parameter"}})
    with serving(Endpoint(lambda messages, times: Behaviour(status=400, raw=raw))) as endpoint:
        with pytest.raises(ModelError, match=mend) as caught:
            ask(storage, settings(endpoint, concurrency=1), questions(30), Verdict)
        assert endpoint.calls == 1
        assert f"Unsupported parameter: '{field}'" in str(caught.value)


def test_many_questions_that_are_too_long_end_nothing(storage):
    """Those that were asked first are set aside, however many there are, once the endpoint has answered any."""

    def script(messages, times):
        return Behaviour(status=400, code="context_length_exceeded") if 1 <= number(messages) < 30 else well(messages, times)

    with serving(Endpoint(script)) as endpoint:
        found = ask(storage, settings(endpoint, concurrency=1), questions(40), Verdict)
        assert (found.stopped, found.open, found.count("rejected"), found.count("ok"), endpoint.calls) == ("", 0, 29, 11, 40)


def test_refusals_without_a_reason_are_passed_by_the_next_run(storage):
    """Ten in a row that the endpoint does not explain end a run, are remembered, and the next run goes on behind them."""
    with serving(
        Endpoint(lambda messages, times: Behaviour(status=400) if 1 <= number(messages) < 16 else well(messages, times))
    ) as endpoint:
        first = ask(storage, settings(endpoint, concurrency=1), questions(20), Verdict)
        assert first.stopped.startswith("the endpoint took none of 10 questions in a row, last: HTTP 400: scripted; they are set aside")
        assert (endpoint.calls, first.count("rejected"), first.open) == (11, 10, 9)
        second = ask(storage, settings(endpoint, concurrency=1), questions(20), Verdict)
        assert (endpoint.calls, second.stopped, second.open, second.count("rejected"), second.count("ok")) == (20, "", 0, 15, 5)


def test_a_server_that_takes_nothing_ends_each_run_and_nothing_is_held_against_the_questions(storage):
    with serving(Endpoint(lambda messages, times: Behaviour(status=400))) as endpoint:
        for _ in range(2):
            found = ask(storage, settings(endpoint, concurrency=1), questions(50), Verdict)
            assert found.stopped == "the endpoint took none of 10 questions in a row, last: HTTP 400: scripted"
            assert (found.open, found.count("rejected")) == (50, 0)
        assert endpoint.calls == 20
        endpoint.chat = lambda messages, times: Behaviour(status=400, code="content_filter")
        told = ask(storage, settings(endpoint, concurrency=1), questions(50), Verdict)  # it says why: each is asked once
        assert (told.count("rejected"), told.stopped.split(",")[0]) == (10, "the endpoint took none of 10 questions in a row")
        assert ask(storage, settings(endpoint, concurrency=1), questions(50), Verdict).count("rejected") == 20
        endpoint.chat = well
        assert ask(storage, settings(endpoint, ask_rejected=True), questions(50), Verdict).count("ok") == 50


@pytest.mark.parametrize("ending", ["budget", "error", "broken", "filter", "unknown"])
def test_a_malformed_answer_that_was_paid_is_kept_however_the_run_ends(storage, ending):
    """Two malformed answers, then the third try meets something: both are counted, and the next run makes the last try alone."""
    third = {
        "error": Behaviour(status=401), "broken": Behaviour(status=503), "unknown": Behaviour(status=400),
        "filter": Behaviour(status=400, code="context_length_exceeded"), "budget": Behaviour(GOOD),
    }[ending]  # fmt: skip

    def script(messages, times):
        return Behaviour("nonsense of many words" * len(messages)) if endpoint.calls <= 2 else third

    with serving(Endpoint(script)) as endpoint:
        chosen = settings(endpoint, malformed_retries=2, retries=0, price_in=1.0, price_out=1.0)
        first = ask(storage, chosen, questions(1), Verdict, Budget(BudgetSettings(calls=1)))
        assert (first.stopped, first.open, endpoint.calls) == ("the budget of calls is used up", 1, 1)
        limit = Budget(BudgetSettings(calls=1 if ending == "budget" else None))
        try:
            ask(storage, chosen, questions(1), Verdict, limit)
        except ModelError:
            assert ending == "error"
        asked = endpoint.calls
        assert asked == (2 if ending == "budget" else 3)
        paid = endpoint.prompt_tokens, endpoint.completion_tokens
        endpoint.chat = lambda messages, times: Behaviour(GOOD)
        last = ask(storage, chosen, questions(1), Verdict)
        if ending == "filter":  # with its malformed answers it is too long for the model, and asked no more
            assert (endpoint.calls, last.answers[0].status) == (3, "malformed")
            assert "context_length_exceeded" in last.answers[0].reason
        else:
            assert (endpoint.calls, last.answers[0].status, last.answers[0].calls) == (asked + 1, "ok", 3)
            paid = endpoint.prompt_tokens, endpoint.completion_tokens
        assert (last.answers[0].prompt_tokens, last.answers[0].completion_tokens) == paid
        assert last.answers[0].money == pytest.approx(sum(paid) / 1e6)


def test_batch_lines_that_were_not_taken_are_set_aside_or_told(storage, tmp_path):
    class Nowhere:
        url = "http://127.0.0.1:9"

    chosen, prompts, output = settings(Nowhere), tmp_path / "p.jsonl", tmp_path / "o.jsonl"
    with pytest.raises(Exported):
        ask(storage, chosen, questions(4), Verdict, export=Export(prompts, "toy", 1, "judge"))
    ids = [json.loads(line)["custom_id"] for line in prompts.read_text().splitlines()]
    errors = [{"code": "content_filter"}, {"message": "Unsupported parameter: 'max_tokens'", "param": "max_tokens"}]
    rows = [{"custom_id": key, "response": {"status_code": 400, "body": {"error": error}}} for key, error in zip(ids, errors, strict=False)]
    output.write_text("\n".join(map(json.dumps, rows)))
    taken = import_answers(storage, [output], {"Verdict": Verdict})
    assert (taken.answers, taken.left, dict(taken.by_status)) == (1, 1, {"rejected": 1})
    assert "limit_field: max_completion_tokens" in taken.why_left
    assert known(storage, chosen, questions(4), Verdict).answers[0].status == "rejected"
