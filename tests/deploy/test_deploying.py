"""On a real server: everything once, however often it is put there; what a person switched stays so."""

import contextvars
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.states import Cancelling, Completed, Pending, Running

from flows.cache_only import Quiet
from flows.deployed import later, mining
from flows.deployed.automations import apply_automations, automations
from flows.deployed.catalogue import DEPLOYABLES
from flows.deployed.deploying import deploy
from flows.deployed.ending import cancel_runs, settle_runs
from flows.deployed.events import owe_event, send_owed
from flows.deployed.place import ensure_limit, limit_name, turn
from flows.mine import mine_round
from flows.progress import ArtifactProgress
from flows.server import browsed, drain, free_port, is_free, pages_api, server
from tasks.audit.records import read_round
from tasks.errors import UsageError
from tasks.runner.inline import InlineExecutor
from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.runner.stage import Job
from tasks.store.pointers import read_pointer
from tasks.store.storage import open_storage
from tests.deploy.conftest import copied
from tests.runner.work import DOUBLE


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(home))
        with (
            server("127.0.0.1", free_port(), pages=False) as address,
            temporary_settings({PREFECT_API_URL: address, PREFECT_HOME: str(home)}),
            get_client(sync_client=True) as client,
        ):
            yield client
            drain()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return str(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def deployed(client, root):
    return deploy(root)


def change(client, path, body, method):
    """As the pages do."""
    data, headers = json.dumps(body).encode(), {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{client.api_url}{path}", data=data, headers=headers, method=method)) as done:
        done.read()


def test_deploying_twice_makes_no_doubles_and_keeps_what_was_switched(client, root, deployed):
    first = deployed
    nightly = client.read_deployment(first["remine"]).schedules
    assert [(one.slug, one.active, one.schedule.cron) for one in nightly] == [("nightly", False, "0 2 * * *")]
    client.update_deployment_schedule(first["remine"], nightly[0].id, active=True)
    stale = client.read_automations_by_name("hardmine: stale negatives are mined again")[0]
    assert stale.enabled
    client.pause_automation(stale.id)
    every_day = {"schedule": {"cron": "0 4 * * *"}, "parameters": {"recipe": "top"}}  # as a page adds one: without a slug
    change(client, f"deployments/{first['select']}/schedules", [every_day], "POST")
    evaluated = {"parameters": {"place": {"root": "elsewhere", "workers": 2}, "round_name": "small"}, "job_variables": {"env": {"A": "b"}}}
    evaluated |= {"concurrency_limit": 9, "concurrency_options": {"collision_strategy": "CANCEL_NEW"}, "paused": True}
    change(client, f"deployments/{first['evaluate']}", evaluated, "PATCH")
    own = {"slug": "nightly", "parameters": {"dataset": "small"}, "schedule": {"cron": "0 3 * * *"}, "active": True}
    change(client, f"deployments/{first['remine']}", {"schedules": [own]}, "PATCH")

    second = deploy(root)
    assert second == first
    selecting = client.read_deployment(first["select"]).schedules
    assert [(one.schedule.cron, one.parameters, one.active) for one in selecting] == [("0 4 * * *", {"recipe": "top"}, True)]
    evaluating = client.read_deployment(first["evaluate"])
    assert evaluating.parameters == {"place": {"root": root, "workers": 2}, "round_name": "small"}  # the root is given: it goes over
    assert (evaluating.job_variables, evaluating.paused) == ({"env": {"A": "b"}}, True)
    assert evaluating.global_concurrency_limit.limit == 9
    assert evaluating.concurrency_options.collision_strategy == "CANCEL_NEW"
    again = client.read_deployment(first["remine"]).schedules
    assert [(one.schedule.cron, one.parameters) for one in again] == [("0 3 * * *", {"dataset": "small"})]
    deploy("")
    assert client.read_deployment(first["evaluate"]).parameters["place"] == {"root": root, "workers": 2}
    assert len(client.read_deployments()) == len(DEPLOYABLES) == 8
    assert [one.active for one in client.read_deployment(first["remine"]).schedules] == [True]
    found = {one.name: one.enabled for one in client.read_automations()}
    assert found == {
        "hardmine: stale negatives are mined again": False,
        "hardmine: published rounds are trained on": False,
        "hardmine: crashed runs are tried once more": True,
    }
    mine = client.read_deployment(first["mine"])
    assert mine.parameters == {"place": {"root": root}}
    assert (mine.tags, mine.concurrency_options.collision_strategy) == (["hardmine", "mining"], "ENQUEUE")


def test_a_bad_form_is_refused_before_anything_runs(client, deployed):
    body = {"parameters": {"dataset": {"name": "a"}, "negatives": {"num_negatives": 0}}}
    request = urllib.request.Request(
        f"{client.api_url}deployments/{deployed['mine']}/create_flow_run",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 409
    assert "less than the minimum of 1" in refused.value.read().decode()


def test_a_limit_that_was_raised_stays(client):
    ensure_limit("small")
    client.upsert_global_concurrency_limit_by_name(limit_name("small"), 3)
    ensure_limit("small")
    assert client.read_global_concurrency_limit_by_name("hardmine-small").limit == 3


def run(flow, **form):
    """As the deployed run does: the form's JSON, checked and filled in by the flow; its name and what it says in the end."""
    state = flow(**form, return_state=True)
    assert state.is_completed(), state.message
    return state.message


@pytest.mark.timeout(900)  # on a busy machine
def test_select_report_and_nothing_to_mine_again(client, mined):
    _, storage, settings, _ = mined
    place = {"root": settings.root}
    recipe = {"recipe": "top", "num_negatives": 1, "formats": ["n-tuple"]}
    assert run(later.select, round_name="small", place=place, **recipe) == "48 negatives by top"  # 1 for each of 48 queries
    assert [one.recipe for one in read_round(storage, "small").selections] == ["nv-retriever", "top"]
    assert run(later.report, place=place, beside=["top"]) == f"{settings.root}/reports/small-r1.html"
    assert run(mining.remine, dataset="small", place=place).startswith("nothing to do")
    runs = client.read_flow_runs()
    assert {one.name for one in runs} == {"select-small-r1-top", "report-small-r1", "remine-small-nothing-to-do"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_waits_while_another_works_on_its_dataset_and_decides_in_its_turn(client, mined):
    folder, _, settings, _ = mined
    ensure_limit("small")
    client.delete_global_concurrency_limit_by_name(limit_name("small"))  # how long who waits does so is learnt from how long it was held
    qrels = folder / "beir" / "qrels" / "test.tsv"
    before = qrels.read_text()
    entered, leave = threading.Event(), threading.Event()

    @flow(name="holding")
    def holding():
        with turn("small"):
            entered.set()
            assert leave.wait(300)

    def waits():
        return any(one.name == "remine-small" and one.state.is_running() for one in client.read_flow_runs())

    with ThreadPoolExecutor(2) as pool:

        def submit(*work, **form):
            """In the settings of here: a thread's own name no server, and Prefect starts one, on the same database with other leases."""
            return pool.submit(contextvars.copy_context().run, *work, **form)

        try:
            first = submit(holding)
            assert entered.wait(120)
            qrels.write_text(before + "q0\td0-2\t1\n")  # a reason to mine, until it is the run's turn
            second = submit(run, mining.remine, dataset="small", place={"root": settings.root})
            until = time.monotonic() + 120
            while not waits() and time.monotonic() < until:
                time.sleep(0.2)
            time.sleep(3)
            assert waits()
            assert not second.done()
        finally:
            qrels.write_text(before)
            leave.set()
        first.result(120)
        assert second.result(120).startswith("nothing to do")


def test_why_a_run_waits_stands_in_its_logs(client):
    @flow(name="waiting")
    def waiting():
        with ArtifactProgress() as progress:
            progress.say("cluster tcp://here: waiting 300 s")

    waiting()
    drain()
    assert [one.message for one in client.read_logs() if one.level == logging.WARNING] == ["cluster tcp://here: waiting 300 s"]


def test_the_event_of_a_round_is_owed_until_a_server_has_taken_it(client, mined, tmp_path, caplog):
    storage, settings = copied(mined, tmp_path)

    @flow(name="sending", persist_result=False)
    def sending():
        return send_owed(storage, "small")

    def owed():
        return read_pointer(storage, "announcements/small")["owed"]

    def approve(selected, again):
        owe_event(storage, "small", selected.record.selection_id, False)
        assert sending() == []  # it is not published yet
        return selected

    mine_round(settings, Context(storage, lambda: InlineExecutor(1), Quiet()), approve)  # and here the run dies
    record = read_round(storage, "small")
    assert owed() == {record.selection_id: {"trains": False}}
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):  # nobody answers there
        assert send_owed(storage, "small") == []
    assert "round small/1 is not announced" in caplog.text
    assert owed() == {record.selection_id: {"trains": False}}
    assert sending() == ["small/1"]
    assert owed() == {}
    assert sending() == []
    for one in record.selections:  # a run that is repeated has nothing new to say
        owe_event(storage, "small", one.selection_id, False)
    assert owed() == {}


def test_prefects_records_of_stages_lie_under_a_root_on_s3(client, s3_root):
    storage = open_storage(s3_root)
    double = stage_task(DOUBLE)

    @flow(name="doubling", persist_result=False)
    def doubling():
        executor = InlineExecutor(1)
        return double(Context(storage, lambda: executor, Quiet()), [Job(index="p0", settings={"numbers": [4]})]).key

    key = doubling()
    record = json.loads(storage.read_bytes(f"prefect/double_{key}"))
    assert json.loads(record["result"]) == {"stage": "double", "key": key}
    assert doubling() == key  # found there
    blocks = [one for one in client.read_block_documents() if one.name.startswith("hardmine-")]
    assert [one.data["basepath"] for one in blocks] == [f"{s3_root}/prefect"]
    assert "secret" not in json.dumps(blocks[0].data)


def test_an_unknown_work_pool_is_a_usage_error(client):
    with pytest.raises(UsageError, match="none on this server"):
        deploy("", "no such pool")


def test_automations_are_valid_as_code(client):
    made = automations({name: uuid4() for name in ("remine", "train")})
    assert all(isinstance(one, AutomationCore) for one in made)
    assert len({one.name for one in made}) == 3
    assert callable(apply_automations)


def test_a_taken_port_is_seen():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert not is_free("127.0.0.1", taken.getsockname()[1])


def test_runs_without_a_process_are_settled_and_those_of_this_process_cancelled(client, deployed):
    states = [Running(), Running(), Pending(), Cancelling(), Completed(), Running(), Running()]
    runs = [client.create_flow_run_from_deployment(deployed["report"]).id for _ in states]
    for number, state in zip(runs, states, strict=True):
        client.set_flow_run_state(number, state, force=True)
    client.set_flow_run_state(runs[0], Pending(), force=True)
    client.set_flow_run_state(runs[0], Running(), force=True)  # its second attempt
    command = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"]
    processes = [  # of the last two; the last one's has ended as Prefect's own end: by its status before its process
        subprocess.Popen(command, env={**os.environ, "PREFECT__FLOW_RUN_ID": str(number)}, stdout=subprocess.PIPE) for number in runs[-2:]
    ]
    try:
        assert [one.stdout.readline() for one in processes] == [b"\n", b"\n"]
        settle_runs([deployed["report"]])
        settled = ["CRASHED", "SCHEDULED", "SCHEDULED", "CANCELLED", "COMPLETED"]
        assert types(client, runs) == [*settled, "RUNNING", "RUNNING"]
        client.set_flow_run_state(runs[-1], Completed(), force=True)
        cancel_runs(grace=1)
        assert types(client, runs) == [*settled, "CANCELLED", "COMPLETED"]
        assert [one.wait(60) for one in processes] == [-9, -9]
    finally:
        for one in processes:
            one.kill()
            one.communicate()
        for number in runs:
            client.delete_flow_run(number)


def types(client, runs):
    return [client.read_flow_run(number).state.type.value for number in runs]


def test_pages_are_told_an_address_that_a_browser_reaches(monkeypatch):
    assert (browsed("127.0.0.1"), browsed("0.0.0.0")) == ("127.0.0.1", socket.gethostname())
    assert pages_api("127.0.0.1", 4200) == "http://127.0.0.1:4200/api"
    assert pages_api("0.0.0.0", 4200) == f"http://{socket.gethostname()}:4200/api"
    monkeypatch.setenv("PREFECT_UI_API_URL", "https://mining.example.org/api")
    assert pages_api("0.0.0.0", 4200) == "https://mining.example.org/api"
