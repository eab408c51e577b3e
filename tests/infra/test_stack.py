"""The parts of the native stack that need no service."""

import os
import re
import stat
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from flows.server import LEASES
from infra.health import healthy
from infra.native import CLIENT, PORTS, Missing, environment, programs
from infra.stack import Process, _take_orphans, parse_procfile, ready, watch

INFRA = Path(__file__).parents[2] / "infra"
COMMANDS = parse_procfile((INFRA / "Procfile").read_text())


@pytest.fixture
def installed():
    try:
        return programs()
    except Missing as missing:
        pytest.skip(str(missing))


def test_the_order_is_that_of_need():
    assert list(COMMANDS) == ["postgres", "s3", "server", "scheduler", "dask-1", "dask-2", "worker"]


def test_every_variable_of_the_procfile_is_given(installed, tmp_path):
    used = set(re.findall(r"\$(\w+)", " ".join(COMMANDS.values())))
    assert used <= set(environment(tmp_path, {}))
    assert set(PORTS) - {"PREFECT_WORKER_PORT"} <= used


@pytest.mark.fault("servers without a password", "the variables of the native stack: made once, readable by the owner alone")
def test_credentials_are_made_once_private_and_never_the_users_own(installed, tmp_path):
    given = {"AWS_SECRET_ACCESS_KEY": "mine", "PREFECT_API_KEY": "mine", "PREFECT_PORT": "4321", "HOME": "/home/me"}
    first = environment(tmp_path, given)
    assert "mine" not in first.values()
    assert first["HOME"] == "/home/me"
    assert first["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"] == LEASES
    assert first["PREFECT_API_URL"] == "http://127.0.0.1:4321/api" == first["PREFECT_UI_API_URL"]
    assert first["PREFECT_API_AUTH_STRING"] == first["PREFECT_SERVER_API_AUTH_STRING"]
    assert first["PREFECT_API_AUTH_STRING"].startswith("hardmine:")
    assert environment(tmp_path, given) == first
    assert set(CLIENT) <= set(first)
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_a_missing_program_is_named_with_its_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("infra.native.DEBIAN", tmp_path)
    with pytest.raises(Missing, match="postgres is not installed: apt-get install postgresql"):
        programs()


@pytest.mark.parametrize(("status", "expected"), [(200, True), (401, True), (403, True), (500, False), (503, False)])
def test_health_is_an_answer_without_an_error_of_the_servers_own(status, expected):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert healthy(f"http://127.0.0.1:{server.server_port}/") is expected
    assert not healthy(f"http://127.0.0.1:{server.server_port}/", timeout=1)
    assert healthy("")


def test_a_process_passes_its_lines_on_and_ends_with_its_children():
    lines = []
    process = Process("one", "echo $WORD; sleep 100 & sleep 100", lambda name, line: lines.append((name, line)))
    process.start({"WORD": "hello", "PATH": "/usr/bin:/bin"})
    while ("one", "hello") not in lines:
        assert process.ended() is None
    process.stop()
    assert process.ended() == -15
    assert lines[-1] == ("one", "ended")


def test_a_process_that_ends_at_once_ends_the_stack():
    lines = []
    process = Process("one", "exit 3", lambda *_: None)
    process.start({"PATH": "/usr/bin:/bin"})
    assert watch([process], {}, threading.Event(), lambda name, line: lines.append((name, line))) == 1
    assert lines == [("one", "ended with status 3")]


def test_a_process_that_dies_later_is_started_anew_until_the_stack_is_stopped():
    stop, lines = threading.Event(), []

    def say(name, line):
        lines.append(line)
        if line.startswith("started") and len(lines) > 2:
            stop.set()

    process = Process("one", "sleep 0.2; exit 3", say)
    process.start({"PATH": "/usr/bin:/bin"})
    assert watch([process], {"PATH": "/usr/bin:/bin"}, stop, say, short=0.1) == 0
    assert [line.split(",")[0] for line in lines] == ["started", "ended with status 3", "started"]
    process.stop()


def test_adopted_processes_that_have_ended_are_taken_and_the_stacks_own_are_not():
    one, other = (os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ) for _ in range(2))
    while any(psutil.Process(number).status() != psutil.STATUS_ZOMBIE for number in (one, other)):
        time.sleep(0.02)
    _take_orphans({other, None})
    assert (psutil.pid_exists(one), psutil.pid_exists(other)) == (False, True)
    assert os.waitpid(other, 0)[0] == other


def test_what_has_no_check_is_ready_at_once():
    variables = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "PREFECT_WORKER_PORT": "9",
        "DASK_PORT": "9",
    }
    assert ready("dask-1", variables)
    assert not ready("server", variables)
    assert not ready("scheduler", variables)
