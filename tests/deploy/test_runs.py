"""Every deployment run on a real server through ``hardmine serve``, by the interface that the pages use; what automations start."""

import os
import re
import signal

import psutil
import pytest

from tasks.audit.records import read_round
from tasks.store.pointers import read_pointer, update_pointer
from tasks.store.storage import open_storage
from tests.deploy.service import Service
from tests.e2e.conftest import write_collection

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SPLITS = "splits: {train: 0.6, dev: 0.2, test: 0.2}"
QUICK = "model: {dtype: float32}, retrieve: {dense: {top_k: 100}, bm25: {top_k: 20}}"
TRAIN = "{max_length: 64, dtype: float32}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def collection(folder):
    return write_collection(folder / "beir")


@pytest.fixture(scope="module")
def service(folder):
    (folder / "service").mkdir()
    service = Service(folder / "service")
    try:
        yield service.wait()
        status, left = service.interrupt()
        assert (status, left) == (0, [])
    finally:
        service.end()


def completed(service, name, **form):
    """A run that must end well: its name and what it says in the end."""
    return ended_well(service, service.start(name, **form))


def ended_well(service, number):
    run = service.ended(number)
    assert run["state"]["type"] == "COMPLETED", f"{run['state']}\n{service.logs(number)[-4000:]}"
    return run["name"], run["state"]["message"]


def mined(collection, name="small", further="", **more):
    """The form of mine, filled in."""
    return {
        "dataset": {"name": name, "path": str(collection)},
        "models": {"max_length": 64},
        "negatives": {"recipe": "top", "num_negatives": 3},
        "publishing": {"report": False},
        "further": f"{{dataset: {{{SPLITS}}}, {QUICK}{further}}}",
        **more,
    }


@pytest.fixture(scope="module")
def first(service, collection):
    """A round of dataset small, which the others start from."""
    assert completed(service, "mine", **mined(collection)) == ("mine-small-r1", "round small/1: 144 negatives by top for 48 queries")
    return service


def test_select_and_report(first):
    done = completed(first, "select", round_name="small/1", recipe="nv-retriever", num_negatives=2)
    assert done == ("select-small-r1-nv-retriever", "96 negatives by nv-retriever")  # 2 for each of 48 queries
    (negatives,) = (row for row in first.table("selection-small") if row["name"] == "negative")
    assert negatives["candidates"] == 96
    assert completed(first, "report", round_name="small", beside=["nv-retriever"]) == (
        "report-small-r1",
        f"{first.root}/reports/small-r1.html",
    )
    link = first.artifacts()["report-small"]["data"]
    assert "Report of round small/1" in link
    assert (first.root / "reports/small-r1.html").stat().st_size > 10_000


def test_task_runs_are_named_to_be_read(first):
    names = [one["name"] for one in first.api("task_runs/filter", {"limit": 200})]
    assert any(re.fullmatch(r"embed-documents, \d+ partitions?, [0-9a-f]{6}", name) for name in names), names


def test_train_evaluate_and_mine_again(first, folder):
    checkpoint = folder / "next"
    name, told = completed(first, "train", round_name="small/1", batch_size=8, target=str(checkpoint), further=TRAIN)
    assert (name, told) == ("train-small-r1", f"checkpoint {checkpoint}")
    assert (checkpoint / "model.safetensors").exists()
    assert str(checkpoint) in first.artifacts()["checkpoint-small"]["data"]
    name, told = completed(first, "evaluate", round_name="small/1", model=str(checkpoint), split="test")
    assert name == "evaluate-small-r1-test"
    assert told.startswith("nDCG@10 ")
    assert {row["measure"] for row in first.table("measures-small")} == {"nDCG@10", "MRR@10", "Recall@100"}

    name, told = completed(first, "remine", dataset="small")
    assert name == "remine-small-nothing-to-do"
    assert told == "nothing to do: model, documents and negatives of round small/1 are as they were"
    number = first.start("remine", dataset="small", retriever=str(checkpoint), publishing={"report": False})
    assert ended_well(first, number) == ("remine-small-r2", "round small/2: 144 negatives by top for 48 queries")
    first.until(lambda: f"mining again: a new checkpoint ({checkpoint})" in first.logs(number))  # logs come a moment later


def test_train_teacher_trains_and_measures(service, collection, folder):
    form = mined(collection, "taught")
    further = form["further"][:-1] + ", model: {dtype: float32, max_length: 64}, teacher: {train: {folds: 0, negatives: 1}}}"
    further = further.replace("model: {dtype: float32}, ", "", 1)
    name, told = completed(
        service, "train-teacher", dataset=form["dataset"], depth=10, epochs=1, target=str(folder / "teacher"), further=further
    )
    assert name == "train-teacher-taught"
    assert re.match(r"\d+ pairs; AUC .* after; nDCG@10 on dev ", told), told
    assert (folder / "teacher" / "model.safetensors").exists()
    assert "against the retriever's order" in service.artifacts()["teacher-taught"]["data"]


def test_mine_with_rounds_runs_the_loop(first, collection):
    loop = f", rounds: 2, train: {TRAIN[:-1]}, batch_size: 8}}, evaluate: {{split: dev}}"
    name, told = completed(first, "mine", **mined(collection, "looped", loop))
    assert name == "mine-looped-r2"
    assert told.startswith("2 rounds; nDCG@10 on dev ")
    rows = first.table("rounds-looped")
    assert [row["checkpoint"] for row in rows] == ["before", "after looped/1", "after looped/2"]
    assert [row["best"] for row in rows].count("yes") == 1
    found = first.until(
        lambda: len(first.events("hardmine.round.published", "looped")) == 2 and first.events("hardmine.round.published", "looped")
    )
    assert {event["payload"]["round"] for event in found} == {"looped/1", "looped/2"}
    assert {event["resource"]["hardmine.trained-by-run"] for event in found} == {"yes"}


def test_quickstart_begins_and_can_be_cancelled(first):
    number = first.start("quickstart")
    first.until(lambda: "progress-embed-documents" in first.artifacts_of(number))
    first.api(f"flow_runs/{number}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    assert first.ended(number)["state"]["type"] == "CANCELLED"


def test_a_small_quickstart_completes(first):
    name, told = completed(first, "quickstart", max_documents=400, max_queries=60)
    assert name == "mine-quickstart-r1"
    assert re.fullmatch(r"round quickstart/1: \d+ negatives by hardmine for 60 queries", told)


def test_what_a_stale_round_starts(first, folder):
    before = {run["id"] for run in first.runs("remine")}
    first.emit("hardmine.negatives.stale", "small", {"root": str(first.root), "model": str(folder / "none such")})
    (run,) = first.until(lambda: [one for one in first.runs("remine") if one["id"] not in before])
    given = run["parameters"]
    assert (given["dataset"], given["always"], given["retriever"]) == ("small", True, str(folder / "none such"))
    assert given["place"] == {"root": str(first.root)}
    assert first.ended(run["id"])["state"]["type"] == "FAILED"  # there is no such checkpoint
    before |= {run["id"]}
    first.emit("hardmine.negatives.stale", "small", {"root": str(first.root)})
    (run,) = first.until(lambda: [one for one in first.runs("remine") if one["id"] not in before])
    assert run["parameters"]["retriever"] == ""
    assert ended_well(first, run["id"])[0].startswith("remine-small-r")


def test_what_a_published_round_starts_once_it_is_switched_on(first):
    automation = next(one for one in first.api("automations/filter", {}) if one["name"].endswith("published rounds are trained on"))
    first.api(f"automations/{automation['id']}", {"enabled": True}, method="PATCH")
    before = {run["id"] for run in first.runs("train")}
    payload = {"root": str(first.root), "dataset": "small", "number": 1, "round": "small/1"}
    try:
        first.emit("hardmine.round.published", "small", {**payload, "round": "small/7"}, {"hardmine.trained-by-run": "yes"})
        first.emit("hardmine.round.published", "small", payload, {"hardmine.trained-by-run": "no"})
        (run,) = first.until(lambda: [one for one in first.runs("train") if one["id"] not in before])
    finally:
        first.api(f"automations/{automation['id']}", {"enabled": False}, method="PATCH")
    assert run["parameters"]["round_name"] == "small/1"
    assert run["parameters"]["place"] == {"root": str(first.root)}
    first.api(f"flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    assert first.ended(run["id"])["state"]["type"] in ("CANCELLED", "COMPLETED")


def kill(service, number):
    """SIGKILL to a flow run's process once it computes."""

    def running():
        if service.run(number)["state"]["type"] == "RUNNING":
            return next((one for one in psutil.Process(service.process.pid).children(recursive=True) if is_of(one, number)), None)
        return None

    process = service.until(running)
    os.kill(process.pid, signal.SIGKILL)
    return process.pid


def is_of(process, number):
    """Whether a process is that of a flow run."""
    try:
        return process.environ().get("PREFECT__FLOW_RUN_ID") == number
    except psutil.Error:  # it has just ended
        return False


def test_a_crashed_run_is_tried_once_more_and_not_twice(first, collection):
    number = first.start("mine", **mined(collection, "crashing"))
    once = kill(first, number)
    first.until(lambda: first.run(number)["run_count"] == 2)
    twice = kill(first, number)
    assert once != twice
    run = first.until(lambda: next((found for found in [first.run(number)] if found["state"]["type"] == "CRASHED"), None))
    assert run["run_count"] == 2
    names = [one["name"] for one in first.api(f"flow_run_states/?flow_run_id={number}")]
    assert names.count("Crashed") == 2
    assert names.count("AwaitingRetry") == 1
    first.until(lambda: len(first.events("prefect.flow-run.Crashed", number)) == 2)  # the second was heard as well
    assert first.run(number)["state"]["type"] == "CRASHED"


def test_a_run_that_crashed_once_completes(first, collection):
    number = first.start("mine", **mined(collection, "crashed"))
    kill(first, number)
    first.until(lambda: first.run(number)["state"]["type"] == "COMPLETED")
    run = first.run(number)
    assert (run["name"], run["run_count"]) == ("mine-crashed-r1", 2)
    told = first.until(lambda: first.events("hardmine.round.published", "crashed"))
    assert [event["payload"]["round"] for event in told] == ["crashed/1"]

    storage = open_storage(str(first.root))
    record = read_round(storage, "crashed")
    owed = {"owed": {record.selection_id: {"trains": False}}}  # as if it had died after it was sent, before that was noted
    update_pointer(storage, "announcements/crashed", lambda _: owed)
    assert completed(first, "remine", dataset="crashed")[0] == "remine-crashed-nothing-to-do"
    assert read_pointer(storage, "announcements/crashed") == {"owed": {}}
    assert [event["id"] for event in first.events("hardmine.round.published", "crashed")] == [told[0]["id"]]
