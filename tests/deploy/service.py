"""``hardmine serve`` as a process, and its server's interface as the pages use it."""

import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import psutil

from tests.conftest import free_port

ROOT = Path(__file__).parents[2]
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


SERVE = (sys.executable, "-u", "-m", "flows.cli", "serve", "--port", "{port}", "--root", "{root}")


class Service:
    """A server, its pages and all deployments, from one process.

    Args:
        folder: for the root, Prefect's files and the log.
        command: that is run; ``{port}`` and ``{root}`` in it are filled in.
        port: a free one, where none is given.
        background: as a shell's background job, which ignores Ctrl-C.
        variables: over this process' own environment.
    """

    def __init__(self, folder, command=SERVE, port=None, background=False, **variables):
        self.folder, self.port, self.root = folder, port or free_port(), folder / "root"
        self.address = f"http://127.0.0.1:{self.port}"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "HARDMINE_"))}
        own = {"PREFECT_HOME": str(folder / "prefect"), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
        self.environment = {**inherited, **own, **variables}
        self.process = subprocess.Popen(
            [word.format(port=self.port, root=self.root) for word in command],
            cwd=folder,
            env=self.environment,
            stdout=(folder / "log").open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN if background else signal.SIG_DFL),
        )

    def log(self):
        """What it has said."""
        return (self.folder / "log").read_text(errors="replace")

    def wait(self, seconds=400):
        """Until all is ready."""
        until = time.monotonic() + seconds
        while "Prefect UI" not in self.log():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < until, self.log()
            time.sleep(0.2)
        return self

    def api(self, path, body=None, method=None):
        """What the server says."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{self.address}/api/{path}", data=data, headers=headers, method=method)
        for attempt in range(10):
            try:
                with urllib.request.urlopen(request, timeout=120) as answer:
                    return json.loads(answer.read() or "null")
            except urllib.error.HTTPError as error:
                if error.code != 503 or attempt == 9:  # SQLite, while others write
                    raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from error
                time.sleep(1)
        return None

    def start(self, name, **parameters):
        """A run of a deployment by its form; its id."""
        deployment = self.api(f"deployments/name/{name}/{name}")
        return self.api(f"deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})["id"]

    def run(self, number):
        """A run as it is now."""
        return self.api(f"flow_runs/{number}")

    def ended(self, number, seconds=900):
        """A run once it has ended."""
        return self.until(lambda: next((found for found in [self.run(number)] if found["state"]["type"] in ENDED), None), seconds)

    def until(self, look, seconds=900):
        """The first answer of a question that is not empty."""
        until = time.monotonic() + seconds
        while not (found := look()):
            assert self.process.poll() is None and time.monotonic() < until, self.log()[-6000:]
            time.sleep(0.3)
        return found

    def runs(self, name):
        """All runs of a deployment, the newest first."""
        return self.api("flow_runs/filter", {"deployments": {"name": {"any_": [name]}}, "sort": "EXPECTED_START_TIME_DESC"})

    def logs(self, number):
        """What a run has logged."""
        found = self.api("logs/filter", {"logs": {"flow_run_id": {"any_": [number]}}, "sort": "TIMESTAMP_ASC"})
        return "\n".join(line["message"] for line in found)

    def artifacts(self):
        """The newest of each key."""
        return {one["key"]: one for one in self.api("artifacts/latest/filter", {"limit": 200})}

    def artifacts_of(self, number):
        """Keys of what a run has left."""
        return {one["key"] for one in self.api("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [number]}}})}

    def table(self, key):
        """Rows of the newest table artifact of a key."""
        return json.loads(self.artifacts()[key]["data"])

    def emit(self, event, dataset, payload, labels=None):
        """Send an event about a dataset."""
        resource = {"prefect.resource.id": f"hardmine.dataset.{dataset}", "prefect.resource.name": dataset, **(labels or {})}
        now = datetime.datetime.now(datetime.UTC).isoformat()
        body = {"id": str(uuid.uuid4()), "occurred": now, "event": event, "resource": resource, "payload": payload}
        self.api("events", [body])

    def events(self, name, of):
        """Events of a name, of a dataset or a flow run."""
        found = self.api("events/filter", {"filter": {"event": {"name": [name]}}})["events"]
        return [event for event in found if event["resource"]["prefect.resource.id"].rpartition(".")[2] == of]

    def interrupt(self, seconds=60, by=signal.SIGINT):
        """Ctrl-C, or another signal.

        Returns:
            The exit status, and those of its processes that are still there.
        """
        family = psutil.Process(self.process.pid).children(recursive=True)
        assert family
        self.process.send_signal(by)
        status = self.process.wait(seconds)
        return status, [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]

    def end(self):
        """However it stands."""
        if self.process.poll() is None:
            family = psutil.Process(self.process.pid).children(recursive=True)
            for process in (self.process, *family):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process.wait()
