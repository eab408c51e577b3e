import numpy as np
import pytest

from flows.settings import MineSettings
from tasks.embed.stage import EMBED_DOCUMENTS, document_jobs
from tasks.errors import ModelError, UsageError
from tasks.models.cross_encoder import CrossEncoder
from tasks.models.embedder import Embedder
from tasks.models.fingerprint import document_spec, teacher_spec
from tasks.models.remote import RemoteEmbedder, RemoteReranker
from tasks.models.settings import ModelSettings, TeacherSettings
from tasks.runner.runner import run_job
from tasks.store.tables import read_array
from tests.embed.conftest import make_part, storage  # noqa: F401
from tests.remote.server import Behaviour, Endpoint, serving
from tests.score.conftest import spec  # noqa: F401

LOCAL = ModelSettings(dtype="float32", device="cpu", max_length=64)
TEXTS = [f"document {place} about {word}" for place, word in enumerate(["cats", "dogs", "", "trees", "the sea", "cats"] * 4)]


@pytest.fixture(scope="module")
def minilm():
    return Embedder(document_spec(LOCAL))


@pytest.fixture
def endpoint(minilm):
    with serving(Endpoint(embed=lambda texts, body, times: minilm.encode(texts).vectors)) as served:
        yield served


def remote(endpoint, api="openai", revision="", **more):
    url = endpoint.url + ("/v1" if api == "openai" else "")
    given = {"api": api, "url": url, "key_from": "", "batch": 5, "concurrency": 3, "backoff": 0.01, "revision": revision, **more}
    return ModelSettings(path="all-MiniLM-L6-v2", remote=given, document_prompt="passage: ")


@pytest.mark.parametrize("api", ["openai", "tei"])
def test_vectors_are_those_of_the_local_model(storage, minilm, endpoint, api):  # noqa: F811
    told = []
    found = RemoteEmbedder(storage, document_spec(remote(endpoint, api))).encode(TEXTS, told.append)
    expected = minilm.encode([f"passage: {text}" for text in TEXTS])
    np.testing.assert_allclose(found.vectors, expected.vectors, atol=1e-6)
    assert sum(told) == len(TEXTS)
    sent = endpoint.bodies("/embeddings" if api == "openai" else "/embed")[1:]
    assert sorted(len(body["input" if api == "openai" else "inputs"]) for body in sent) == [4, 5, 5, 5, 5]
    assert 1 < endpoint.most_in_flight <= 3
    assert len(RemoteEmbedder(storage, document_spec(remote(endpoint, api))).encode([]).vectors) == 0


def test_a_stage_keeps_vectors_by_name_and_declared_revision(storage, make_part, minilm, endpoint):  # noqa: F811
    part = make_part("documents", "d0000", [("a", "", "apples"), ("b", "T", "pears"), ("c", "", "apples")])

    def embed(settings, known=None):
        (job,) = document_jobs([part], document_spec(settings), "float32", known)
        return run_job(storage.root, EMBED_DOCUMENTS, job, lambda _: None)

    done = embed(remote(endpoint))
    expected = minilm.encode(["passage: apples", "passage: T pears", "passage: apples"]).vectors
    np.testing.assert_allclose(read_array(storage, done.file("vectors.npy")), expected, atol=1e-6)
    assert done.counters["model_calls"] == 2
    calls = endpoint.calls
    assert embed(remote(endpoint, url="http://127.0.0.1:9/v1")).key == done.key  # another address is the same model, and nothing is asked
    assert endpoint.calls == calls
    assert embed(remote(endpoint, revision="2")).key != done.key


@pytest.mark.fault("an endpoint of a model that fails", "a real HTTP server that answers with errors")
def test_failures_are_tried_again_and_those_that_stay_are_named(storage, minilm, endpoint):  # noqa: F811
    def script(texts, body, times):
        return Behaviour(status=503) if times == 1 else Behaviour("", raw="[[0.1") if times == 2 else minilm.encode(texts).vectors

    endpoint.embed = script
    found = RemoteEmbedder(storage, document_spec(remote(endpoint))).encode(TEXTS[:12])
    np.testing.assert_allclose(found.vectors, minilm.encode([f"passage: {text}" for text in TEXTS[:12]]).vectors, atol=1e-6)
    opened = RemoteEmbedder(storage, document_spec(remote(endpoint, retries=1)))
    endpoint.embed = lambda texts, body, times: Behaviour(status=503)
    with pytest.raises(ModelError, match="HTTP 503"):
        opened.encode(TEXTS)


def test_a_changed_dimension_revision_or_model_is_noticed(storage, minilm, endpoint):  # noqa: F811
    RemoteEmbedder(storage, document_spec(remote(endpoint)))
    endpoint.embed = lambda texts, body, times: minilm.encode(texts).vectors[:, :128]
    with pytest.raises(ModelError, match="dimension 128, and 384 before"):
        RemoteEmbedder(storage, document_spec(remote(endpoint)))
    RemoteEmbedder(storage, document_spec(remote(endpoint, revision="small")))  # declared: another model
    with pytest.raises(ModelError, match=r"remote\.dim is 384"):
        RemoteEmbedder(storage, document_spec(remote(endpoint, revision="x", dim=384)))
    endpoint.embed = lambda texts, body, times: minilm.encode([f"{text} upside down" for text in texts]).vectors
    with pytest.raises(ModelError, match="fixed text"):
        RemoteEmbedder(storage, document_spec(remote(endpoint)))
    endpoint.embed = lambda texts, body, times: minilm.encode(texts).vectors
    opened = RemoteEmbedder(storage, document_spec(remote(endpoint)))
    endpoint.embed = lambda texts, body, times: minilm.encode(texts).vectors[:, :128]
    with pytest.raises(ModelError, match="dimension 128, and 384 before"):
        opened.encode(TEXTS)  # in the middle of a run
    endpoint.embed, endpoint.info = lambda texts, body, times: minilm.encode(texts).vectors, "another-model"
    with pytest.raises(ModelError, match="serves another-model, and all-MiniLM-L6-v2 before"):
        RemoteEmbedder(storage, document_spec(remote(endpoint)))


def test_teis_info_is_compared_with_what_is_declared(storage, endpoint):  # noqa: F811
    endpoint.info = {"model_id": "all-MiniLM-L6-v2", "model_sha": "abc"}
    RemoteEmbedder(storage, document_spec(remote(endpoint, "tei", "abc")))
    with pytest.raises(ModelError, match="serves revision abc, and def is declared"):
        RemoteEmbedder(storage, document_spec(remote(endpoint, "tei", "def")))
    RemoteEmbedder(storage, document_spec(remote(endpoint, "tei")))
    endpoint.info = {"model_id": "all-MiniLM-L6-v2", "model_sha": "new"}
    with pytest.raises(ModelError, match="serves all-MiniLM-L6-v2@new"):
        RemoteEmbedder(storage, document_spec(remote(endpoint, "tei")))


def test_what_is_served_is_learnt_once_the_endpoint_says_it(storage, endpoint):  # noqa: F811
    served = document_spec(remote(endpoint, "tei"))
    RemoteEmbedder(storage, served)  # /info is not answered
    endpoint.info = {"model_id": "all-MiniLM-L6-v2", "model_sha": "abc"}
    RemoteEmbedder(storage, served)
    endpoint.info = {"model_id": "all-MiniLM-L6-v2", "model_sha": "new"}
    with pytest.raises(ModelError, match="serves all-MiniLM-L6-v2@new, and all-MiniLM-L6-v2@abc before"):
        RemoteEmbedder(storage, served)


def test_scores_are_those_of_the_local_teacher(storage, spec):  # noqa: F811
    local = CrossEncoder(spec)
    pairs = [(f"query {place // 7}", text) for place, text in enumerate(TEXTS)]
    with serving(Endpoint(rerank=lambda query, texts, times: local.score([(query, text) for text in texts]).logits)) as endpoint:
        settings = TeacherSettings(path="tiny", remote={"api": "tei", "url": endpoint.url, "key_from": "", "batch": 4})
        told = []
        found = RemoteReranker(storage, teacher_spec(settings)).score(pairs, told.append)
        np.testing.assert_allclose(found.logits, local.score([(q, text or " ") for q, text in pairs]).logits, atol=1e-5)
        assert sum(told) == len(pairs)
        assert all(body["raw_scores"] and len(body["texts"]) <= 4 for body in endpoint.bodies("/rerank"))
        endpoint.rerank = lambda query, texts, times: local.score([(query, text) for text in texts]).logits + 3
        with pytest.raises(ModelError, match="score of a fixed pair"):
            RemoteReranker(storage, teacher_spec(settings))


def test_minilm_behind_rerank_gives_its_own_cosines(storage, minilm):  # noqa: F811
    queries = ["cats", "trees"]
    pairs = [(query, text or " ") for query in queries for text in TEXTS[:6]]

    def rerank(query, texts, times):
        return minilm.encode(texts).vectors @ minilm.encode([query]).vectors[0]

    with serving(Endpoint(rerank=rerank)) as endpoint:
        settings = TeacherSettings(path="minilm", remote={"api": "tei", "url": endpoint.url, "batch": 4})
        found = RemoteReranker(storage, teacher_spec(settings)).score(pairs)
    left, right = (minilm.encode([pair[side] for pair in pairs]).vectors for side in (0, 1))
    np.testing.assert_allclose(found.logits, (left * right).sum(axis=1), atol=1e-6)


def test_what_cannot_be_is_refused_before_anything_runs(endpoint):
    with pytest.raises(ValueError, match="cannot be trained"):
        MineSettings(dataset={"name": "d", "format": "beir", "path": "p"}, model=remote(endpoint), rounds=2)
    with pytest.raises(ValueError, match="a remote teacher has a path"):
        TeacherSettings(path="t", remote={"api": "openai", "url": "http://h/v1"})


def test_a_missing_key_is_named_before_anything_runs(endpoint, tmp_path, monkeypatch):
    from flows.checks import check_models

    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    settings = MineSettings(dataset={"name": "d", "format": "beir", "path": "p"}, model=remote(endpoint, key_from="NO_SUCH_KEY"))
    with pytest.raises(UsageError, match="NO_SUCH_KEY is not set"):
        check_models(settings)
