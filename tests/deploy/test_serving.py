"""``make ui`` as a person runs it: the printed address answers, its pages know their server, Ctrl-C ends all."""

import json
import os
import re
import shutil
import signal
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.deploy.service import ROOT, Service

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
