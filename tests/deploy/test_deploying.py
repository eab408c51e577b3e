"""On a real server: everything once, however often it is put there; what a person switched stays so."""

import json
import urllib.error
import urllib.request
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from flows.deployed import later, mining
from flows.deployed.automations import apply_automations, automations
from flows.deployed.catalogue import DEPLOYABLES
from flows.deployed.deploying import deploy
from flows.deployed.place import ensure_limit, limit_name
from flows.server import drain, free_port, is_free, server
from tasks.audit.records import read_round
from tasks.errors import UsageError
from tasks.runner.inline import InlineExecutor
from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.runner.stage import Job
from tasks.store.storage import open_storage
from tests.deploy.conftest import Silent
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
            patch.setenv("PREFECT_API_URL", address)  # for threads
            yield client
            drain()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return str(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def deployed(client, root):
    return deploy(root)


def test_deploying_twice_makes_no_doubles_and_keeps_what_was_switched(client, root, deployed):
    first = deployed
    nightly = client.read_deployment(first["remine"]).schedules
    assert [(one.slug, one.active, one.schedule.cron) for one in nightly] == [("nightly", False, "0 2 * * *")]
    client.update_deployment_schedule(first["remine"], nightly[0].id, active=True)
    stale = client.read_automations_by_name("hardmine: stale negatives are mined again")[0]
    assert stale.enabled
    client.pause_automation(stale.id)

    second = deploy(root)
    assert second == first
    assert len(client.read_deployments()) == len(DEPLOYABLES) == 7
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


def test_prefects_records_of_stages_lie_under_a_root_on_s3(client, s3_root):
    storage = open_storage(s3_root)
    double = stage_task(DOUBLE)

    @flow(name="doubling", persist_result=False)
    def doubling():
        executor = InlineExecutor(1)
        return double(Context(storage, lambda: executor, Silent()), [Job(index="p0", settings={"numbers": [4]})]).key

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
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert not is_free("127.0.0.1", taken.getsockname()[1])
