"""Pauses and limits of all threads that ask one endpoint."""

import threading
import time

import numpy as np
import pytest

from tasks.models.fingerprint import document_spec, teacher_spec
from tasks.models.remote import RemoteEmbedder, RemoteReranker
from tasks.models.settings import ModelSettings, TeacherSettings
from tasks.remote.ask import ask
from tasks.remote.pace import Pace, Stopped
from tasks.remote.settings import EndpointSettings
from tests.remote.server import Behaviour, Endpoint, serving
from tests.remote.test_ask import Verdict, number, questions, settings, storage, well

assert storage  # a fixture


def test_threads_that_wait_already_keep_to_a_pause_that_is_asked_for_meanwhile(storage):
    """Request 3 waits for its turn, half a second on, when request 0 is told after 0.2 s to wait for one second."""

    def script(messages, times):
        if number(messages) == 0 and times == 1:
            return Behaviour(status=429, headers={"retry-after": "1"}, delay=0.2)
        return well(messages, times)

    with serving(Endpoint(script)) as endpoint:
        assert ask(storage, settings(endpoint, concurrency=4, requests_per_minute=120), questions(4), Verdict).open == 0
        told = endpoint.times[0] + 0.2
        assert sorted(when >= told + 1 for when in endpoint.times) == [False, False, False, True, True]


def test_a_stopped_pace_lets_nobody_wait():
    pace = Pace(EndpointSettings(url="http://h", requests_per_minute=1))
    pace.turn()  # the next one in a minute
    ended = []

    def wait():
        try:
            pace.turn()
        except Stopped:
            ended.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    pace.stop()
    thread.join(5)
    assert ended == [True]


def test_tokens_that_were_counted_too_high_are_given_back():
    pace = Pace(EndpointSettings(url="http://h", tokens_per_minute=6000))
    pace.turn(1000)  # ten seconds' worth
    pace.settle(-1000)
    began = time.monotonic()
    pace.turn(10)
    assert time.monotonic() - began < 0.5


def test_tokens_of_answers_are_counted_as_they_are_told(storage):
    """What a request could have taken at the most, about 80 tokens here, is held while it is under way, and not after."""
    with serving(Endpoint(well)) as endpoint:
        found = ask(storage, settings(endpoint, concurrency=1, tokens_per_minute=6000), questions(16), Verdict)
        took = endpoint.times[-1] - endpoint.times[0]
        used = endpoint.prompt_tokens + endpoint.completion_tokens
        assert found.spent.tokens == used < 16 * 20
        assert (used - 100) / 100 * 0.8 <= took < 16 * 80 / 100 * 0.6


@pytest.mark.parametrize("api", ["openai", "tei", "rerank"])
def test_tokens_a_minute_hold_embedders_and_rerankers(storage, api):
    """Eight requests of 40 tokens at 100 a second with a second's worth at once: the last not before 1.8 s."""
    vectors = lambda texts, body, times: np.ones((len(texts), 2))  # noqa: E731
    with serving(Endpoint(embed=vectors, rerank=lambda query, texts, times: np.zeros(len(texts)))) as endpoint:
        given = {"api": "tei" if api == "rerank" else api, "url": endpoint.url, "batch": 1, "tokens_per_minute": 6000, "concurrency": 1}
        text = "x" * 160  # the server of these tests counts a character as a token in /embeddings
        if api == "rerank":
            opened = RemoteReranker(storage, teacher_spec(TeacherSettings(path="m", remote=given)))
            opened.score([(f"{place}", text) for place in range(8)])
        else:
            opened = RemoteEmbedder(storage, document_spec(ModelSettings(path="m", remote=given)))
            opened.encode([text[:40] if api == "openai" else text] * 8)
        assert endpoint.times[-1] - endpoint.times[1] >= (8 * 40 - 100 - 40) / 100 * 0.9
