"""Answers in a root on S3, and a round whose models are behind endpoints, mined by Dask workers over S3."""

import threading

import pytest

from flows.cache_only import Quiet
from flows.mine import mine_round
from flows.settings import MineSettings
from flows.stored import find_round, stored_stage
from tasks.models.cross_encoder import CrossEncoder
from tasks.models.embedder import Embedder
from tasks.models.fingerprint import document_spec, teacher_spec
from tasks.models.settings import ModelSettings, TeacherSettings
from tasks.remote.ask import ask, known
from tasks.remote.budget import Budget
from tasks.remote.settings import BudgetSettings
from tasks.runner.dask_executor import DaskExecutor
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.storage import open_storage
from tasks.store.tables import read_parts
from tests.e2e.conftest import collection, cross_encoder
from tests.remote.server import Behaviour, Endpoint, serving
from tests.remote.test_ask import Verdict, number, questions, settings, well

assert collection  # fixtures
assert cross_encoder


def script(messages, times):
    kind = number(messages) % 5
    if kind == 3:
        return Behaviour(status=400, code="context_length_exceeded")
    return Behaviour("nonsense") if kind == 4 else well(messages, times)


@pytest.mark.slow
def test_answers_are_kept_and_merged_on_s3(s3_root):
    """By budgets of two calls a run, so that there are more segments than stay apart; another machine finds all of them."""
    with serving(Endpoint(script)) as endpoint:
        chosen = settings(endpoint, concurrency=2)
        for _ in range(80):
            found = ask(open_storage(s3_root), chosen, questions(40), Verdict, Budget(BudgetSettings(calls=2)))
            if not found.stopped:
                break
        assert (found.open, found.count("ok"), found.count("rejected"), found.count("malformed")) == (0, 24, 8, 8)
        assert endpoint.calls == 40 + 8  # a malformed one twice, nothing else
        assert sum(answer.calls for answer in found.answers) == endpoint.calls
    assert [answer.status for answer in known(open_storage(s3_root), chosen, questions(40), Verdict).answers] == [
        answer.status for answer in found.answers
    ]


@pytest.mark.slow
def test_a_round_with_models_behind_endpoints_is_the_local_one(s3_root, tmp_path, monkeypatch, collection, cross_encoder):
    """Same candidates, ranks and rows; scores to 1e-4. The workers take the key from their environment; nothing is asked twice."""
    monkeypatch.setenv("OWN_KEY", "a-key")
    plain = {"max_length": 32, "dtype": "float32", "device": "cpu"}
    teacher = {"path": str(cross_encoder), **plain, "depth": 5}
    common = {
        "dataset": {"name": "toy", "format": "beir", "path": str(collection), "split": "test"},
        "retrieve": {"dense": {"top_k": 20}, "bm25": None}, "recipe": "top", "num_negatives": 3, "planted": 0, "truncate": True,
    }  # fmt: skip
    here = Context(open_storage(str(tmp_path / "root")), lambda: InlineExecutor(2), Quiet())
    mine_round(MineSettings.model_validate({**common, "root": here.storage.root, "model": plain, "teacher": teacher}), here)
    encoder = Embedder(document_spec(ModelSettings.model_validate(plain)))
    scorer, turn = CrossEncoder(teacher_spec(TeacherSettings.model_validate(teacher))), threading.Lock()

    def embed(texts, body, times):
        with turn:
            return encoder.encode(texts).vectors

    def rerank(query, texts, times):
        with turn:
            return scorer.score([(query, text) for text in texts]).logits

    with serving(Endpoint(embed=embed, rerank=rerank)) as endpoint:
        remote = {"url": endpoint.url, "key_from": "OWN_KEY", "batch": 16}
        models = {
            "model": {"path": "minilm", "remote": {"api": "openai", **remote}},
            "teacher": {"path": "tiny", "depth": 5, "remote": {"api": "tei", **remote}},
        }
        executor = DaskExecutor("local", 2)
        try:
            there = Context(open_storage(s3_root), lambda: executor, Quiet())
            mine_round(MineSettings.model_validate({**common, "root": s3_root, **models}), there)
            calls = endpoint.calls
            mine_round(MineSettings.model_validate({**common, "root": s3_root, **models}), there)
        finally:
            executor.close()
        assert endpoint.calls == calls
        sent = [{name.lower(): value for name, value in headers.items()} for _, _, headers in endpoint.requests]
        assert {headers["authorization"] for headers in sent} == {"Bearer a-key"}
    found = []
    for context in (here, there):
        record = find_round(context.storage, "toy")
        scored = read_parts(context.storage, stored_stage(context.storage, record.stage("scored")).parts, "scored.parquet")
        rows = read_parts(context.storage, stored_stage(context.storage, record.selection().select).parts, "rows.parquet")
        found.append((scored.sort_by([("query_id", "ascending"), ("doc_id", "ascending")]), rows))
    for column in ("query_id", "doc_id", "dense_rank"):
        assert found[0][0][column].to_pylist() == found[1][0][column].to_pylist()
    for column in ("dense_score", "teacher_logit"):
        ours, theirs = (one[0][column].to_pylist() for one in found)
        assert [value is None for value in ours] == [value is None for value in theirs]
        assert [value for value in ours if value is not None] == pytest.approx([value for value in theirs if value is not None], abs=1e-4)
    assert found[0][1].select(["query_id", "doc_id", "slot"]).equals(found[1][1].select(["query_id", "doc_id", "slot"]))
