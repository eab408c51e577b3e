"""``make ui`` as a person runs it: the printed address answers, its pages know their server, Ctrl-C ends all."""

import json
import os
import re
import shutil
import signal
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.deploy.service import ROOT, Service
from tests.e2e.conftest import write_collection

VENV = Path(sys.prefix)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.skipif(
    shutil.which("make") is None or not (VENV / "bin/hardmine").exists(), reason="make, or hardmine in this environment, is missing"
)
def test_make_ui_and_ctrl_c_while_a_run_computes(tmp_path):
    installed = f"{VENV}/.ready"
    command = ("make", "--no-print-directory", "-C", str(ROOT), "-o", installed, "ui", f"VENV={VENV}", "PORT={port}")
    service = Service(tmp_path, command, HARDMINE_ROOT=str(tmp_path / "root"))
    try:
        service.wait()
        printed = re.search(r"Prefect UI (\S+)", service.log())[1]
        assert printed == f"{service.address}/deployments"
        asked = urllib.request.Request(printed, headers={"Accept": "text/html"})  # as a browser asks
        with urllib.request.urlopen(asked, timeout=60) as page:
            assert b"<script" in page.read()
        with urllib.request.urlopen(f"{service.address}/ui-settings", timeout=60) as settings:
            assert json.load(settings)["api_url"] == f"{service.address}/api"
        number = service.start("quickstart")
        service.until(lambda: service.artifacts_of(number))
        parent = psutil.Process(service.process.pid)
        service.until(lambda: len(parent.children(recursive=True)) >= 4)  # hardmine, the server, the flow run, its workers
        family = parent.children(recursive=True)
        os.killpg(service.process.pid, signal.SIGINT)  # as a terminal does: to all of the foreground
        service.process.wait(60)
        _, alive = psutil.wait_procs(family, timeout=10)
        assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
        assert "server and runs are ended" in service.log()
        assert "Traceback" not in service.log()
    finally:
        service.end()


def slots(service):
    return {one["name"]: one["active_slots"] for one in service.api("v2/concurrency_limits/filter", {})}


def interrupted(service):
    assert service.interrupt() == (0, [])


def states(service):
    return [one["state"]["type"] for one in service.api("flow_runs/filter", {})]


def test_a_server_that_starts_again_has_no_runs_without_a_process_and_no_places_taken(tmp_path):
    form = {"dataset": {"name": "small", "path": str(write_collection(tmp_path / "beir"))}, "models": {"max_length": 64}}
    form |= {"publishing": {"report": False}}
    service = Service(tmp_path).wait()
    try:
        first = service.start("mine", **form)
        service.until(lambda: slots(service).get("hardmine-small") == 1)
        interrupted(service)

        service = Service(tmp_path, port=service.port).wait()
        assert service.run(first)["state"]["type"] == "CANCELLED"
        service.until(lambda: set(slots(service).values()) == {0}, 120)
        second = service.start("mine", **form)
        service.until(lambda: slots(service).get("hardmine-small") == 1)
        service.end()  # killed: serve, its server, the run, all at once

        service = Service(tmp_path, port=service.port, background=True).wait()
        # killed in its first attempt: it is due again; its place is free a minute after the lease was renewed last
        found = service.until(lambda: next((one for one in [service.run(second)] if one["state"]["type"] == "COMPLETED"), None))
        assert found["run_count"] == 2
        assert sorted(states(service)) == ["CANCELLED", "COMPLETED"]
        service.until(lambda: set(slots(service).values()) == {0}, 120)
        service.process.send_signal(signal.SIGINT)
        time.sleep(2)
        assert service.process.poll() is None
        assert service.interrupt(by=signal.SIGTERM) == (0, [])  # a background job ends by that
        assert "server and runs are ended" in service.log()
    finally:
        service.end()
