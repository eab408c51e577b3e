"""Which key goes where: one that was not named for an address goes to OpenAI's alone."""

from contextlib import suppress
from pathlib import Path

import pytest

from tasks.errors import ModelError, UsageError
from tasks.remote.ask import ask
from tasks.remote.client import Client
from tasks.remote.settings import ChatSettings, RemoteSettings
from tests.remote.server import Behaviour, Endpoint, serving
from tests.remote.test_ask import Verdict, questions, settings, storage, well

assert storage  # a fixture


class Nowhere:
    url = "http://127.0.0.1:9"


ELSEWHERE = [
    "http://api.openai.com/v1", "https://api.openai.com.example.org/v1", "https://example.org/api.openai.com",
    "https://api.openai.com:8443/v1", "https://notapi.openai.com/v1", "http://localhost:8000/v1", "https://proxy.example.org/v1",
]  # fmt: skip


@pytest.mark.parametrize("url", ["https://api.openai.com/v1", "https://API.OpenAI.com:443/v1"])
def test_openais_own_address_gets_openais_key(monkeypatch, url):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own")
    assert ChatSettings(model="m", url=url).key() == "sk-own"
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UsageError, match="OPENAI_API_KEY is not set"):
        ChatSettings(model="m", url=url).key()


@pytest.mark.parametrize("url", ELSEWHERE)
def test_no_other_address_gets_it_unless_it_is_named(monkeypatch, url):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own")
    assert ChatSettings(model="m", url=url).key() == ""
    assert RemoteSettings(api="openai", url=url).key() == ""
    assert ChatSettings(model="m", url=url, key_from="OPENAI_API_KEY").key() == "sk-own"


@pytest.mark.parametrize("key_from", [None, ""])
@pytest.mark.parametrize("stream", [False, True])
def test_nothing_of_the_environment_goes_to_another_address(storage, monkeypatch, key_from, stream):
    secrets = {
        "OPENAI_API_KEY": "sk-secret-a", "OPENAI_ADMIN_KEY": "sk-secret-b", "OPENAI_ORG_ID": "org-secret", "OPENAI_PROJECT_ID": "secret",
        "OPENAI_CUSTOM_HEADERS": "Authorization: Bearer sk-secret-c\nX-Own: secret-d", "OPENAI_BASE_URL": "http://127.0.0.1:9/secret",
    }  # fmt: skip
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    with serving(Endpoint(well, embed=lambda texts, body, times: [[1.0]] * len(texts), info={"model_id": "m"})) as endpoint:
        assert ask(storage, settings(endpoint, key_from=key_from, stream=stream), questions(2), Verdict).open == 0
        client = Client(RemoteSettings(api="openai", url=endpoint.url, key_from=key_from))
        client.embeddings("m", ["a"])
        client.post("/embed", {"inputs": ["a"]})
        assert client.get("/info") == {"model_id": "m"}
        client.close()
        assert len(endpoint.requests) == 4
        for _, _, headers in endpoint.requests:
            names = {name.lower() for name in headers}
            assert not names & {"authorization", "x-own", "openai-organization", "openai-project", "api-key"}
            assert "secret" not in repr(headers)


def test_a_server_that_repeats_the_key_puts_it_nowhere(storage, monkeypatch, caplog):
    monkeypatch.setenv("TEST_KEY", "sk-very-secret")
    echo = '{"error": {"message": "no such thing for Bearer sk-very-secret", "code": "invalid_prompt"}}'
    with serving(Endpoint(lambda messages, times: Behaviour(status=400, raw=echo))) as endpoint:
        found = ask(storage, settings(endpoint, key_from="TEST_KEY"), questions(2), Verdict)
        assert found.answers[0].reason.endswith("no such thing for Bearer …")
        endpoint.chat = lambda messages, times: Behaviour("you are Bearer sk-very-secret", refusal="not you, sk-very-secret")
        for stream in (False, True):
            told = ask(storage, settings(endpoint, key_from="TEST_KEY", stream=stream), questions(1, 20 + stream), Verdict)
            assert (told.answers[0].status, told.answers[0].reason) == ("refused", "not you, …")
            assert told.answers[0].content in ("you are Bearer …", "")
            assert "sk-very-secret" not in repr(told.answers)  # the files below are compressed
        denied = '{"error": {"message": "Unsupported parameter: \'seed\' with sk-very-secret", "param": "seed"}}'
        endpoint.chat = lambda messages, times: Behaviour(status=400, raw=denied)
        with pytest.raises(ModelError) as caught:
            ask(storage, settings(endpoint, key_from="TEST_KEY"), questions(2, 10), Verdict)
    assert "Bearer …" not in str(caught.value)
    assert "seed" in str(caught.value)
    shown = [str(caught.value), repr(caught.value), caplog.text]
    cause = caught.value
    while cause is not None:  # a traceback shows causes too
        shown.append(repr(cause))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    assert not any("sk-very-secret" in text for text in shown)
    for file in Path(storage.root).rglob("*"):
        assert not file.is_file() or b"sk-very-secret" not in file.read_bytes()


def test_no_part_of_a_key_is_left_where_a_reason_is_cut_short(storage, monkeypatch):
    key = "sk-0123456789abcdefghij"
    monkeypatch.setenv("TEST_KEY", key)
    for place in range(110, 170):  # reasons are cut at 160 characters
        told = {"error": {"message": "x" * place + key, "code": "invalid_prompt"}}
        reason = str(Client(settings(Nowhere, key_from="TEST_KEY"))._of_status(400, {}, "", told))
        assert "invalid_prompt" in reason
        assert "sk-" not in reason


def test_a_redirect_takes_the_key_to_no_other_address(storage, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "sk-very-secret")
    with serving(Endpoint(well)) as other:
        there = {"location": f"{other.url}/v1/chat/completions"}
        with serving(Endpoint(lambda messages, times: Behaviour(status=307, headers=there))) as endpoint:
            with suppress(ModelError):
                ask(storage, settings(endpoint, key_from="TEST_KEY"), questions(1), Verdict)
            assert endpoint.calls == 1
        assert not any("sk-very-secret" in repr(headers) for _, _, headers in other.requests)


@pytest.mark.parametrize("key", ["sk-ä", "two\nlines", "a\tb"])
def test_what_can_be_in_no_header_is_no_key(monkeypatch, key):
    monkeypatch.setenv("TEST_KEY", key)
    with pytest.raises(UsageError, match="TEST_KEY holds no key") as caught:
        ChatSettings(model="m", key_from="TEST_KEY").key()
    assert key not in str(caught.value)
