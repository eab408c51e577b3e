"""Two rounds with a tiny encoder: on a local root and on S3, and with a loss under which only the query side learns."""

import json
import os
import tempfile
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from flows.cli import app
from flows.mine import mine_round
from flows.rounds import mine_rounds
from flows.settings import MineSettings
from flows.stored import find_round, stored_stage
from flows.training import evaluate_checkpoint
from tasks.audit.asks import read_asks
from tasks.audit.best import read_best
from tasks.audit.build import latest_audit
from tasks.audit.checkpoints import read_evaluations, read_trainings
from tasks.audit.latest import read_latest
from tasks.errors import UsageError
from tasks.evaluate.settings import EvaluateSettings
from tasks.runner.dask_executor import DaskExecutor
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.sql import query_snapshot
from tasks.store.manifest import Part
from tasks.store.seal import read_record
from tasks.store.storage import open_storage
from tests.e2e.conftest import write_collection
from tests.finetune.conftest import body
from tests.remote.server import Behaviour, Endpoint, serving
from tests.runner.test_runner import Recorder

assert body  # a fixture that is used below
TRAIN = {"batch_size": 8, "max_length": 24, "dtype": "float32", "learning_rate": 2e-3, "save_every": 50}


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return write_collection(tmp_path_factory.mktemp("collection") / "beir")


@pytest.fixture
def settings(collection, body):
    def make(root, **changes):
        splits = {"train": 0.6, "dev": 0.2, "test": 0.2}
        made = {
            "root": str(root),
            "dataset": {
                "name": "small", "format": "beir", "path": str(collection), "splits": splits, "near_duplicates": None,
                "document_partitions": 1, "query_partitions": 1,
            },
            "model": {"path": body, "max_length": 24, "dtype": "float32", "device": "cpu"},
            "retrieve": {"dense": {"top_k": 100}},
            "recipe": {"name": "top", "depth": 20},
            "planted": 0,
            "num_negatives": 2,
            "rounds": 2,
            "train": TRAIN,
            "staleness": {"resamples": 50},
            **changes,
        }  # fmt: skip
        return MineSettings.model_validate(made)

    return make


def here(root):
    """Everything in this process."""
    return Context(open_storage(str(root)), lambda: InlineExecutor(1), Recorder())


def outputs(context):
    """What must not depend on where the root is: candidates, shards' checksums and checkpoints of each round."""
    found = []
    for number in (1, 2):
        record = find_round(context.storage, f"small/{number}")
        shards = {name: stored_stage(context.storage, ref).checksum for name, ref in record.selection().shards.items()}
        stages = [(one.stage, one.key) for one in record.stages]
        found.append((record.candidate_set_id, record.selection_id, shards, stages, record.settings["model"]["path"]))
    trainings = [(one.round, one.train, one.base, one.model, one.path) for one in read_trainings(context.storage, "small")]
    measured = [(one.model, one.path, one.evaluate, one.measures) for one in read_evaluations(context.storage, "small")]
    return found, trainings, measured


def test_a_root_that_moved_goes_on(settings, tmp_path):
    first = here(tmp_path / "first")
    result = mine_rounds(settings(tmp_path / "first"), first)
    models = [one.trained.model for one in result.rounds]
    assert all(Path(model).is_relative_to(tmp_path / "first") and Path(model, "model.safetensors").exists() for model in models)
    assert result.rounds[0].mined.staleness.earlier == ()
    assert result.rounds[1].mined.staleness.earlier[0].steps == result.rounds[0].trained.facts["steps"]  # its card was found
    before = outputs(first)
    path = before[0][1][-1]
    assert path.startswith("root:data/train-retriever/")
    assert read_latest(first.storage, "small")["checkpoint"]["path"] == path
    (tmp_path / "first").rename(tmp_path / "second")
    second = here(tmp_path / "second")
    seen = []

    def mine_and_look(given, context, first_round, budget):
        """After each round what readers find: the loop starts at round 1 again, and no pointer does."""
        mined = mine_round(given, context, teachers_of=first_round)
        seen.append((mined.number, find_round(context.storage, "small").number, read_latest(context.storage, "small")["round"]))
        return mined

    again = mine_rounds(settings(tmp_path / "second"), second, mine_and_look)
    assert seen == [(1, 2, 2), (2, 2, 2)]
    assert all(stage.cached for one in again.rounds for stage in one.mined.stages)
    assert all(one.trained.cached for one in again.rounds)
    assert outputs(second) == before
    record = find_round(second.storage, "small/2")
    measured = evaluate_checkpoint(second, record, None, EvaluateSettings())
    assert measured.model == str(tmp_path / "second" / path.removeprefix("root:"))
    assert evaluate_checkpoint(second, record, measured.model, EvaluateSettings()) == measured


@pytest.mark.slow
def test_s3_gives_the_same_and_its_worker_has_a_cache_of_its_own(settings, tmp_path, s3_root, monkeypatch):
    """The stages run on a Dask worker whose folder for temporary files is not the first process'."""
    from distributed import LocalCluster

    local = here(tmp_path / "root")
    mine_rounds(settings(tmp_path / "root"), local)
    folders = {name: tmp_path / name for name in ("driver", "worker", "elsewhere")}
    for folder in folders.values():
        folder.mkdir()
    cache = f"hardmine-{os.getuid()}/models"
    monkeypatch.setattr(tempfile, "tempdir", str(folders["driver"]))
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, env={"TMPDIR": str(folders["worker"])}) as cluster:
        executor = DaskExecutor(cluster.scheduler_address)
        remote = Context(open_storage(s3_root), lambda: executor, Recorder())
        result = mine_rounds(settings(s3_root), remote)
        executor.close()
    assert outputs(remote) == outputs(local)
    assert not (folders["driver"] / cache).exists()  # which plans and never loads a model
    assert len(list((folders["worker"] / cache).iterdir())) == 2
    assert result.rounds[1].trained.model.startswith(f"{s3_root}/data/train-retriever/")
    monkeypatch.setattr(tempfile, "tempdir", str(folders["elsewhere"]))  # a machine that saw nothing of it
    third = mine_rounds(settings(s3_root, rounds=3), here(s3_root))
    assert [one.trained.cached for one in third.rounds] == [True, True, False]
    assert third.rounds[2].trained.facts["steps"] == third.rounds[1].trained.facts["steps"]
    assert len(list((folders["elsewhere"] / cache).iterdir())) == 2  # what it trained from, and what it trained


def test_with_live_retrieval_no_document_is_embedded_twice(settings, tmp_path):
    """ADORE's training: the index of the first round stays, queries learn from what it gives for them at each step."""
    train = {**TRAIN, "epochs": 2, "loss": {"kind": "live_retrieval", "top_k": 20}}
    context = here(tmp_path)
    given = settings(tmp_path, train=train)
    result = mine_rounds(given, context)
    first, second = result.rounds
    costs = [{stage.stage: stage for stage in one.mined.stages} for one in result.rounds]
    assert (costs[0]["embed-documents"].model_calls, costs[1]["embed-documents"].model_calls) == (144, 0)
    assert costs[1]["embed-documents"].cached
    records = [find_round(context.storage, f"small/{number}") for number in (1, 2)]
    vectors = [
        [stored_stage(context.storage, one.roles[role]).checksum for one in records] for role in ("document_vectors", "query_vectors")
    ]
    assert vectors[0][0] == vectors[0][1]
    assert vectors[1][0] != vectors[1][1]
    assert calls(context, "embed-documents") == 144  # evaluations too embed queries only
    assert calls(context, "embed-queries") == 3 * 48  # of the first model and of both checkpoints
    assert records[1].settings["document_model"]["path"] == given.model.path
    assert records[1].settings["model"]["path"].startswith("root:data/train-retriever/")
    assert all(one.trained.facts["steps"] == 2 * -(-one.trained.facts["samples"] // 8) for one in (first, second))
    reached = [one.measures["nDCG@10"]["mean"] for one in (result.start, first.measured, second.measured)]
    assert reached[0] + 0.2 < reached[1] < reached[2]  # queries of split dev, that no training saw
    assert result.best == second.measured.model == second.trained.model
    best = read_best(context.storage, "small")
    recorded = next(one for one in read_trainings(context.storage, "small") if one.round == 2)
    assert (best.round, best.path, best.model, best.value, best.trained) == (2, recorded.path, recorded.model, reached[2], 2)
    assert [row["best"]["path"] for row in run("rounds", "--root", tmp_path)] == [recorded.path] * 2
    told = CliRunner().invoke(app, ["rounds", "--root", str(tmp_path)]).stdout
    assert f"best of small {recorded.path} (nDCG@10 {reached[2]:.4f} on dev; trained on small/2)" in told
    again = mine_rounds(given, context)
    assert all(stage.cached for one in again.rounds for stage in one.mined.stages)
    assert all(one.trained.cached for one in again.rounds)


def run(*arguments):
    """A command in this process; the last line that it prints, parsed."""
    found = CliRunner().invoke(app, [str(argument) for argument in (*arguments, "--json")])
    if found.exception is not None:
        raise found.exception
    return json.loads(found.stdout.splitlines()[-1])


def test_split_test_is_read_for_one_model(settings, tmp_path):
    context = here(tmp_path)
    result = mine_rounds(settings(tmp_path, rounds=1), context)
    checkpoint = result.rounds[0].trained.model
    evaluate = ("evaluate", "small/1", "--root", tmp_path, "--split", "test")
    first = run(*evaluate, "--model", checkpoint)
    assert first["read"] == 1
    assert run(*evaluate, "--model", checkpoint) == first  # the same one again
    with pytest.raises(UsageError, match=r"split 'test' was read before, 1 time\(s\)") as refused:
        run(*evaluate)  # the model that the loop began with
    assert "--reread-test" in refused.value.mend
    assert len(read_evaluations(context.storage, "small")) == 3  # both models on dev, one on test
    record = find_round(context.storage, "small/1")
    assert evaluate_checkpoint(context, record, None, EvaluateSettings(split="dev")).read == 2
    again = run(*evaluate, "--reread-test")
    assert again["read"] == 2
    query = "SELECT read FROM metrics WHERE split = 'test' AND measure = 'nDCG@10' ORDER BY read"
    assert query_snapshot(latest_audit(context.storage), query)["read"].to_pylist() == [1, 2]


def test_a_teacher_alone_is_in_the_audit_with_its_measures(settings, body, tmp_path):
    """The dataset has no round yet."""
    train = {"body": body, "epochs": 1, "batch_size": 32, "max_length": 24, "folds": 0, "dtype": "float32"}
    given = settings(tmp_path / "root", teacher={"train": train, "depth": 100, "max_length": 24, "dtype": "float32"})
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(given.model_dump(mode="json")))
    found = run("train-teacher", file)
    query = (
        "SELECT c.kind, c.round, m.kind AS measured, m.split, m.queries, m.value, m.read, m.path "
        "FROM metrics m JOIN checkpoints c USING (dataset, model) WHERE measure = 'nDCG@10'"
    )
    (row,) = query_snapshot(latest_audit(open_storage(given.root)), query).to_pylist()
    assert str(tmp_path / "root" / row.pop("path").removeprefix("root:")) == found["models"][0]
    value = found["measures"]["nDCG@10"]["mean"]
    assert row == {
        "kind": "teacher",
        "round": 0,
        "measured": "teacher",
        "split": "dev",
        "queries": found["queries"],
        "value": value,
        "read": 1,
    }


def calls(context, stage):
    """Model calls of all partitions of a stage that were ever committed."""
    names = context.storage.list_names(f"manifests/{stage}/parts/")
    return sum(read_record(context.storage, name, Part).counters["model_calls"] for name in names)


@pytest.mark.slow
def test_a_judges_budget_bounds_all_rounds_of_a_command(settings, tmp_path):
    """Two rounds that are judged while they are mined: together they spend it, and the same command goes on where it ended."""

    def say(messages, times):
        return Behaviour(json.dumps({"relevant": len(messages[1]["content"]) % 7 == 0, "confidence": 0.9, "reason": ""}))

    with serving(Endpoint(say)) as endpoint:
        given = {"cheap": {"url": endpoint.url, "model": "judge", "concurrency": 1}, "rounds": 2}
        context = here(tmp_path)
        mine_rounds(settings(tmp_path, judge={**given, "budget": {"calls": 100}}), context)
        assert endpoint.calls == 100
        asks = read_asks(context.storage)
        assert sum(one.calls for one in asks) == 100
        assert [one.stopped for one in asks][-1] == "the budget of calls is used up"
        mine_rounds(settings(tmp_path, judge=given), context)
        bodies = [json.dumps(body) for body in endpoint.bodies("completions")]
        assert len(bodies) == len(set(bodies)) > 100
        assert read_asks(context.storage)[-1].stopped == ""
