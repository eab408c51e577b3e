import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from tasks.errors import ModelError, UsageError
from tasks.remote.answers import MAX_SEGMENTS, Answer, find, keep, segments, store_of
from tasks.remote.ask import Question, ask, keys_of, known
from tasks.remote.budget import Budget
from tasks.remote.client import Client
from tasks.remote.forms import form_schema, most_tokens
from tasks.remote.settings import BudgetSettings, ChatSettings
from tasks.store.storage import open_storage
from tests.remote.server import Behaviour, Endpoint, serving


class Verdict(BaseModel):
    relevant: bool
    confidence: float = Field(ge=0, le=1)


GOOD = json.dumps({"relevant": True, "confidence": 0.5})


def settings(endpoint, **more):
    given = {
        "url": endpoint.url + "/v1",
        "key_from": "",
        "model": "scripted",
        "backoff": 0.01,
        "concurrency": 4,
        "max_tokens": 40,
        "timeout": 5,
    }
    return ChatSettings(**{**given, **more})


def questions(count, start=0):
    return [Question(({"role": "user", "content": f"question {number}"},), "test-1") for number in range(start, start + count)]


def number(messages):
    return int(messages[0]["content"].split()[1])


def well(messages, times):
    return Behaviour(json.dumps({"relevant": number(messages) % 2 == 0, "confidence": number(messages) / 100}))


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path / "root"))


def test_answers_are_given_in_order_and_never_asked_twice(storage):
    with serving(Endpoint(well)) as endpoint:
        first = ask(storage, settings(endpoint), questions(20) + questions(3), Verdict)
        assert [form.confidence for form in first.forms] == [n / 100 for n in [*range(20), 0, 1, 2]]
        assert (endpoint.calls, first.spent.calls, first.cached, first.stopped) == (20, 20, 0, "")
        assert (first.spent.prompt_tokens, first.spent.completion_tokens) == (endpoint.prompt_tokens, endpoint.completion_tokens)
        assert endpoint.most_in_flight <= 4
        again = ask(storage, settings(endpoint, concurrency=1), questions(25), Verdict)
        assert (endpoint.calls, again.cached, again.spent.calls) == (25, 20, 5)
        told = endpoint.requests[0][1]
        assert told["response_format"]["json_schema"]["schema"]["additionalProperties"] is False
        assert ("temperature" in told, "seed" in told, told["max_tokens"]) == (False, False, 40)
    assert known(storage, settings(endpoint), questions(25), Verdict).forms == again.forms  # nobody serves any more


def test_another_model_revision_parameter_or_form_asks_anew_and_another_url_does_not(storage):
    class Other(BaseModel):
        relevant: bool

    with serving(Endpoint(well)) as endpoint:
        base = settings(endpoint)
        same = [base, base.model_copy(update={"url": "http://elsewhere/v1", "concurrency": 1, "retries": 0, "timeout": 1.0})]
        assert keys_of(same[0], questions(1), Verdict) == keys_of(same[1], questions(1), Verdict)
        others = [{"model": "b"}, {"revision": "2"}, {"temperature": 1.0}, {"max_tokens": 41}, {"seed": 3}, {"json_mode": "object"},
                  {"reasoning_effort": "low"}]  # fmt: skip
        keys = {keys_of(base.model_copy(update=change), questions(1), Verdict)[0] for change in others}
        keys |= {keys_of(base, questions(1), Other)[0], keys_of(base, questions(1), Verdict)[0]}
        assert len(keys) == len(others) + 2


#: what each question meets, by number modulo 8; the last is always a good answer
def hard(messages, times):
    kind, retried = number(messages) % 8, len(messages) > 1
    good = well(messages, times)
    if kind == 1 and times == 1:
        return Behaviour(status=429, headers={"retry-after": "0.05"})
    if kind == 2 and times <= 2:
        return Behaviour(status=500)
    if kind == 3 and times == 1:
        return Behaviour(good.content, cut=True)
    if kind == 4 and not retried:
        return Behaviour('{"relevant": "perhaps"')
    if kind == 5:
        return Behaviour('{"relevant": true, "confidence": 7}')
    if kind == 6:
        return Behaviour("", refusal="I will not judge this")
    if kind == 7:
        return Behaviour(good.content, delay=0.05)
    return good


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_is_lost_whatever_the_endpoint_does(storage, stream):
    asked = questions(32)
    with serving(Endpoint(hard)) as endpoint:
        found = ask(storage, settings(endpoint, stream=stream, concurrency=8), asked, Verdict)
        statuses = [answer.status for answer in found.answers]
        assert [status for status in statuses if status == "malformed"] == ["malformed"] * 4
        assert statuses.count("refused") == 4
        assert {a.reason for a in found.answers if a.status == "refused"} == {"I will not judge this"}
        assert all("less than or equal to 1" in answer.reason for place, answer in enumerate(found.answers) if place % 8 == 5)
        for place, form in enumerate(found.forms):
            if place % 8 not in (5, 6):
                assert form.confidence == place / 100
        assert not found.failures
        calls = endpoint.calls
        assert found.spent.calls == calls
        assert sum(answer.calls for answer in found.answers) == 32 + 4 + 4  # tries that gave an answer
        again = ask(storage, settings(endpoint, stream=stream), asked, Verdict)
        assert endpoint.calls == calls
        assert [answer.key for answer in again.answers] == [answer.key for answer in found.answers]


def test_a_malformed_answer_is_asked_for_again_with_its_reason(storage):
    with serving(Endpoint(hard)) as endpoint:
        found = ask(storage, settings(endpoint), [questions(1, 4)[0]], Verdict)
        first, second = (body["messages"] for body in endpoint.bodies("/chat/completions"))
        assert [message["role"] for message in second] == ["user", "assistant", "user"]
        assert second[1]["content"] == '{"relevant": "perhaps"'
        assert "not an answer in the wanted form" in second[2]["content"]
        assert (len(first), found.forms[0].confidence, found.answers[0].calls) == (1, 0.04, 2)


def test_answers_in_fences_are_read_and_cut_ones_are_malformed(storage):
    def script(messages, times):
        return Behaviour(f"```json\n{GOOD}\n```") if number(messages) == 0 else Behaviour(GOOD, finish="length")

    with serving(Endpoint(script)) as endpoint:
        found = ask(storage, settings(endpoint), questions(2), Verdict)
    assert found.forms[0].relevant
    assert (found.answers[1].status, found.answers[1].reason) == ("malformed", "cut off at max_tokens")


@pytest.mark.parametrize("limit", ["calls", "tokens", "money"])
def test_a_budget_is_held_and_the_same_call_goes_on(storage, limit):
    amount = {"calls": 7, "tokens": 700, "money": 0.0009}[limit]
    with serving(Endpoint(hard)) as endpoint:
        chosen = settings(endpoint, concurrency=6, price_in=1.0, price_out=2.0)
        rounds = []
        for _ in range(60):
            before = endpoint.calls, endpoint.prompt_tokens + endpoint.completion_tokens
            found = ask(storage, chosen, questions(24), Verdict, Budget(BudgetSettings(**{limit: amount})))
            billed = endpoint.calls - before[0], endpoint.prompt_tokens + endpoint.completion_tokens - before[1]
            used = {"calls": found.spent.calls, "tokens": found.spent.tokens, "money": found.spent.money}[limit]
            assert used <= amount * (1 + 1e-9)
            assert billed[0] == found.spent.calls
            assert billed[1] <= found.spent.tokens  # a broken connection counts as dear as it can be
            rounds.append(found)
            if not found.stopped:
                break
            assert found.stopped == f"the budget of {limit} is used up"
        assert len(rounds) >= 2
        assert [answer.status for answer in found.answers].count("ok") == 24 - 3 - 3
        assert found.open == 0
        assert sum(answer.calls for answer in found.answers) == 24 + 3 + 3  # no malformed answer was paid for twice


def test_a_budget_of_nothing_sends_nothing(storage):
    with serving(Endpoint(well)) as endpoint:
        found = ask(storage, settings(endpoint), questions(3), Verdict, Budget(BudgetSettings(calls=0)))
        assert (endpoint.calls, found.open, found.stopped) == (0, 3, "the budget of calls is used up")


def test_a_budget_has_room_for_the_form_that_is_asked_for(storage):
    """Endpoints count the schema as part of the prompt."""
    (asked,) = questions(1)
    form = len(json.dumps(form_schema(Verdict)))
    with serving(Endpoint(well)) as endpoint:
        for mode, most in (("none", 0), ("schema", form)):
            chosen = settings(endpoint, json_mode=mode)
            least = most_tokens(asked.messages) + chosen.max_tokens + most
            assert ask(storage, chosen, [asked], Verdict, Budget(BudgetSettings(tokens=least - 1))).stopped.endswith("tokens is used up")
            assert ask(storage, chosen, [asked], Verdict, Budget(BudgetSettings(tokens=least))).open == 0


def test_a_budget_in_money_needs_prices(storage):
    with pytest.raises(UsageError, match="has no prices"):
        BudgetSettings(money=1).check(ChatSettings(model="free"))


def test_an_endpoint_that_gives_nothing_ends_the_run_and_nothing_is_kept(storage):
    with serving(Endpoint(lambda messages, times: Behaviour(status=503))) as endpoint:
        found = ask(storage, settings(endpoint, retries=1, concurrency=2, backoff=0), questions(50), Verdict)
        assert found.stopped == "the endpoint gave nothing to 10 questions in a row, last: HTTP 503"
        assert (found.open, 20 <= endpoint.calls <= 24) == (50, True)
        endpoint.chat = well
        assert ask(storage, settings(endpoint), questions(50), Verdict).open == 0


def test_one_question_that_is_never_taken_is_set_aside_and_the_others_go_on(storage):
    def script(messages, times):
        return Behaviour(status=400, code="context_length_exceeded") if number(messages) == 3 else well(messages, times)

    with serving(Endpoint(script)) as endpoint:
        found = ask(storage, settings(endpoint), questions(8), Verdict)
        assert (found.answers[3].status, found.answers[3].reason) == ("rejected", "HTTP 400 (context_length_exceeded): scripted")
        assert (endpoint.calls, found.open, found.count("rejected"), found.failures, found.stopped) == (8, 0, 1, {}, "")
        again = ask(storage, settings(endpoint), questions(8), Verdict)
        assert (endpoint.calls, again.cached, again.forms[3]) == (8, 8, None)  # it is remembered, and not asked again
        endpoint.chat = well
        told = ask(storage, settings(endpoint, ask_rejected=True), questions(8), Verdict)
        assert (endpoint.calls, told.forms[3].confidence) == (9, 0.03)
        assert known(storage, settings(endpoint), questions(8), Verdict).forms[3].confidence == 0.03


@pytest.mark.parametrize(("behaviour", "words"), [
    (Behaviour(status=401), "answers HTTP 401"),
    (Behaviour(status=404), "answers HTTP 404"),
    (Behaviour(status=429, code="insufficient_quota"), "no quota left"),
])  # fmt: skip
def test_what_no_retry_mends_is_an_error_and_what_was_answered_before_is_kept(storage, behaviour, words):
    def script(messages, times):
        return behaviour if number(messages) == 5 else well(messages, times)

    with serving(Endpoint(script)) as endpoint:
        with pytest.raises(ModelError, match=words):
            ask(storage, settings(endpoint, concurrency=1), questions(9), Verdict)
        assert endpoint.calls == 6
        assert known(storage, settings(endpoint), questions(9), Verdict).cached == 5


def test_pauses_that_the_endpoint_asks_for_hold_all_threads(storage):
    def script(messages, times):
        return Behaviour(status=429, headers={"retry-after": "0.4"}) if number(messages) == 0 and times == 1 else well(messages, times)

    with serving(Endpoint(script)) as endpoint:
        ask(storage, settings(endpoint, concurrency=1), questions(3), Verdict)
        assert endpoint.times[1] - endpoint.times[0] >= 0.39


def test_limits_a_minute_are_kept(storage):
    with serving(Endpoint(well)) as endpoint:
        ask(storage, settings(endpoint, requests_per_minute=1200), questions(36), Verdict)
        assert endpoint.times[-1] - endpoint.times[0] >= (36 - 20) / 20 * 0.9  # 20 a second, a second's worth at once


@pytest.mark.fault("a run that asks a language model is killed", "SIGKILL while it asks; a real HTTP server counts")
def test_a_killed_run_pays_for_no_answer_twice(storage, tmp_path):
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.remote.test_ask import *
class Where: url = sys.argv[1]
ask(open_storage({storage.root!r}), settings(Where, concurrency=2), questions(60), Verdict)
"""
    with serving(Endpoint(lambda messages, times: Behaviour(well(messages, times).content, delay=0.03))) as endpoint:
        process = subprocess.Popen([sys.executable, "-c", script, endpoint.url])
        while endpoint.calls < 20:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
        before = endpoint.calls
        found = ask(storage, settings(endpoint), questions(60), Verdict)
        assert found.open == 0
        assert found.cached >= before - 2  # at most those in flight are lost
        assert endpoint.calls == before + 60 - found.cached
    assert not list(Path(storage.scratch()).glob("answers-*"))


def test_two_at_once_ask_once(storage):
    with serving(Endpoint(lambda messages, times: Behaviour(well(messages, times).content, delay=0.01))) as endpoint:
        results = []
        threads = [
            threading.Thread(target=lambda: results.append(ask(storage, settings(endpoint), questions(20), Verdict))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (endpoint.calls, [result.open for result in results]) == (20, [0, 0])


def test_gc_leaves_what_was_paid_for(storage):
    from flows.keeping.gc import Limits, collect

    with serving(Endpoint(well)) as endpoint:
        ask(storage, settings(endpoint), questions(5), Verdict)
    collect(storage, Limits(older_than=-10.0), apply=True)
    assert known(storage, settings(endpoint), questions(5), Verdict).cached == 5


def test_segments_are_merged_and_hold_the_same(storage):
    store = store_of("m", "")
    answers = [Answer(key=f"{place:032x}"[::-1], status="ok", content=str(place)) for place in range(MAX_SEGMENTS + 2)]
    for answer in answers:
        keep(storage, store, [answer])
    keep(storage, store, [answers[0].model_copy(update={"content": "later"})])
    keys = {answer.key for answer in answers}
    first = find(storage, store, keys)
    assert len(first) == len(answers)
    assert all(record.name.startswith("b=") for record in segments(storage, store))
    assert find(storage, store, keys) == first
    assert find(storage, store, {"f" * 32}) == {}


@pytest.mark.fault("the key of a language model", "all files, messages and logs are searched")
def test_keys_come_from_the_environment_and_are_shown_nowhere(storage, monkeypatch):
    with serving(Endpoint(lambda messages, times: Behaviour(status=401))) as endpoint:
        chosen = settings(endpoint, key_from="TEST_KEY")
        monkeypatch.delenv("TEST_KEY", raising=False)
        with pytest.raises(UsageError, match="TEST_KEY is not set"):
            Client(chosen)
        monkeypatch.setenv("TEST_KEY", "very-secret")
        with pytest.raises(ModelError) as caught:
            ask(storage, chosen, questions(1), Verdict)
        assert {name.lower(): value for name, value in endpoint.requests[0][2].items()}["authorization"] == "Bearer very-secret"
        assert "very-secret" not in repr(caught.value) + chosen.model_dump_json()
    for file in Path(storage.root).rglob("*"):
        assert not file.is_file() or b"very-secret" not in file.read_bytes()


def test_a_key_in_the_settings_is_refused_and_not_repeated():
    from flows.configuration import validate

    for wrong in ({"key_from": "sk-very-secret"}, {"url": "http://user:very-secret@host/v1"}):
        with pytest.raises(UsageError) as caught:
            validate(ChatSettings, {"model": "m", **wrong})
        assert "very-secret" not in str(caught.value)
        assert "environment" in str(caught.value)


def test_no_prompt_has_more_tokens_than_are_reserved():
    assert most_tokens([{"role": "user", "content": "ä" * 10}]) >= 20


def test_a_stopped_run_keeps_what_came_and_sends_nothing_more(storage, tmp_path):
    script = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.remote.test_ask import *
class Where: url = sys.argv[1]
ask(open_storage({storage.root!r}), settings(Where, concurrency=2), questions(200), Verdict)
"""
    with serving(Endpoint(lambda messages, times: Behaviour(well(messages, times).content, delay=0.05))) as endpoint:
        process = subprocess.Popen([sys.executable, "-c", script, endpoint.url], stderr=subprocess.DEVNULL)
        while endpoint.calls < 10:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.wait(30)
        before = endpoint.calls
        found = known(storage, settings(endpoint), questions(200), Verdict)
        assert (found.cached, endpoint.calls) == (before, before)
        assert before < 200
