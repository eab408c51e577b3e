"""The event of stale negatives, on a real server with its services."""

import json
import time
import urllib.request

from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.deployed.events import send_owed
from flows.staleness import owe_stale_event, send_owed_events, staleness
from tasks.audit.records import list_rounds, publish_round
from tasks.store.pointers import read_pointer
from tests.conftest import free_port
from tests.retrieve.build import context
from tests.staleness.test_rounds import FIRST, SECOND
from tests.staleness.world import round_of


def listed(server, name, resource):
    """Events that the server has; it takes them in, and lists them a moment later."""
    body = json.dumps({"filter": {"event": {"name": [name]}, "resource": {"id": [resource]}}}).encode()
    for _ in range(100):
        request = urllib.request.Request(f"{server}/events/filter", data=body, headers={"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            if found := json.loads(answer.read())["events"]:
                return found
        time.sleep(0.2)
    return []


def test_it_outlives_a_run_that_dies_after_it_published(prefect_server, tmp_path):
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        here = context(tmp_path)
        publish_round(here.storage, round_of(here.storage, FIRST))
        now = round_of(here.storage, SECOND, path="checkpoint")
        found = staleness(here, now, list_rounds(here.storage))
        assert owe_stale_event(here.storage, now, found.facts, 0.0)
        assert send_owed(here.storage, "toy") == []  # the round is not there yet
        publish_round(here.storage, found.recorded(now))  # and here the run dies
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):  # nobody answers there
            send_owed_events(here.storage, "toy")
        assert list(read_pointer(here.storage, "announcements/toy")["owed"]) == [f"stale/{now.selection_id}"]
        send_owed_events(here.storage, "toy")
        assert read_pointer(here.storage, "announcements/toy") == {"owed": {}}
        (event,) = listed(prefect_server, "hardmine.negatives.stale", "hardmine.dataset.toy")
        told, last = event["payload"], found.facts.earlier[0]
        assert (told["root"], told["round"], told["from_round"], told["model"]) == (here.storage.root, 2, 1, "checkpoint")
        assert (told["lost"], told["lost_control"], told["limit"]) == (last.lost, last.lost_control, 0.0)
        assert event["resource"]["prefect.resource.name"] == "toy"
