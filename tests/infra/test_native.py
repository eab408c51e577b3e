"""The whole set as processes of this machine: Postgres, a Prefect server with a password, its worker, S3, Dask with two workers."""

import base64
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from infra.native import CLIENT, PORTS, Missing, programs
from tests.conftest import free_port
from tests.e2e.conftest import ROOT, CommandLine, collection, cross_encoder, round_settings

__all__ = ["collection", "cross_encoder"]


class Stack:
    """``python -m infra.stack``, started in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.log = folder / "log"
        ports = {name: str(free_port()) for name in PORTS}
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "HARDMINE_"))}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "infra.stack", "--folder", str(folder / "data")],
                cwd=ROOT,
                env={**environment, **ports, "HF_HUB_OFFLINE": "1", "HARDMINE_WORKER_CORES": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def wait(self, seconds=900):
        """Until all is ready; then the variables for other terminals."""
        until = time.monotonic() + seconds
        while "\nready: " not in self.text():
            assert self.process.poll() is None, self.text()[-4000:]
            assert time.monotonic() < until, self.text()[-4000:]
            time.sleep(0.5)
        words = (line.removeprefix("export ").partition("=") for line in (self.folder / "data" / "env").read_text().splitlines())
        return {name: shlex.split(value)[0] for name, _, value in words}

    def text(self):
        return self.log.read_text()

    def end(self):
        """As Ctrl-C does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(90)
        return self.process.returncode


@pytest.fixture
def stack():
    try:
        programs()
    except Missing as missing:
        pytest.skip(str(missing))
    folder = Path(tempfile.mkdtemp(prefix="hardmine-stack-"))  # pytest's own folders are closed to the database's user
    folder.chmod(0o755)
    stack = Stack(folder)
    try:
        yield stack
    finally:
        stack.end()
        shutil.rmtree(folder, ignore_errors=True)


class Api:
    """Prefect's REST interface."""

    def __init__(self, variables):
        self._url = variables["PREFECT_API_URL"]
        self._login = "Basic " + base64.b64encode(variables["PREFECT_API_AUTH_STRING"].encode()).decode()

    def __call__(self, path, body=None, login=True):
        headers = {"content-type": "application/json", **({"Authorization": self._login} if login else {})}
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self._url}/{path}", data=data, headers=headers), timeout=60) as answer:
            return json.load(answer)


@pytest.mark.fault(
    "a stranger, and a killed worker, on the whole stack", "a request without the password; SIGKILL of a Dask worker that embeds"
)
@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_round_on_the_stack_with_a_killed_worker_has_the_local_runs_bytes(stack, tmp_path, monkeypatch, collection, cross_encoder):
    variables = stack.wait()
    assert set(variables) == set(CLIENT)
    api = Api(variables)
    with pytest.raises(urllib.error.HTTPError) as refused:
        api("deployments/name/mine/mine", login=False)
    assert refused.value.code == 401

    settings = round_settings(collection, cross_encoder)
    settings["dataset"] |= {"document_partitions": 4, "query_partitions": 3}
    settings["teacher"] |= {"pairs_per_partition": 200}
    started = api(f"deployments/{api('deployments/name/mine/mine')['id']}/create_flow_run", {"parameters": form(settings, variables)})
    killed = kill_a_busy_worker(variables["HARDMINE_CLUSTER"], lambda: state(api, started)["type"])
    until = time.monotonic() + 1200
    while (now := state(api, started))["type"] not in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
        assert time.monotonic() < until, stack.text()[-4000:]
        time.sleep(1)
    assert now["type"] == "COMPLETED", f"{now}\n{stack.text()[-6000:]}"
    assert "round small/1" in now["message"]
    assert f"Worker process {killed} was killed by signal 9" in stack.text()

    monkeypatch.setenv("PREFECT_API_AUTH_STRING", variables["PREFECT_API_AUTH_STRING"])
    hardmine = CommandLine(tmp_path, variables["PREFECT_API_URL"])
    local = hardmine.json("mine", hardmine.write(**settings))
    assert_same_shards(local, variables)
    assert stack.end() == 0


def form(settings, variables):
    """The same settings as a person fills them in."""
    return {
        "dataset": {name: settings["dataset"][name] for name in ("name", "format", "path")},
        "models": {"retriever": "packaged", "max_length": 64},
        "negatives": {"num_negatives": settings["num_negatives"], "formats": settings["formats"]},
        "publishing": {"report": False},
        "place": {"root": variables["HARDMINE_ROOT"], "cluster": variables["HARDMINE_CLUSTER"]},
        "further": yaml.safe_dump(
            {name: settings[name] for name in ("dataset", "model", "teacher", "retrieve", "recipe", "planted", "seed")}
        ),
    }


def state(api, run):
    return api(f"flow_runs/{run['id']}")["state"]


def kill_a_busy_worker(address, run_state):
    """SIGKILL the worker dask-1 while it embeds a partition of documents; its process id."""
    from distributed import Client

    with Client(address, timeout="60s") as client:
        client.wait_for_workers(2, timeout=120)
        names = {worker: facts["name"] for worker, facts in client.scheduler_info()["workers"].items()}
        assert sorted(names.values()) == ["dask-1", "dask-2"]
        first = next(worker for worker, name in names.items() if name == "dask-1")
        process = client.run(os.getpid, workers=[first])[first]
        until = time.monotonic() + 600
        while not any("embed-documents" in str(key) for key in client.processing().get(first, ())):
            assert time.monotonic() < until
            assert run_state() not in ("COMPLETED", "FAILED", "CRASHED")
            time.sleep(0.02)
        os.kill(process, signal.SIGKILL)
    return process


def assert_same_shards(local, variables):
    """All training files of a local run are under the S3 root, under the same names and with the same bytes."""
    import s3fs

    storage = s3fs.S3FileSystem(
        key=variables["AWS_ACCESS_KEY_ID"],
        secret=variables["AWS_SECRET_ACCESS_KEY"],
        client_kwargs={"endpoint_url": variables["AWS_ENDPOINT_URL"]},
        use_listings_cache=False,
    )
    compared = 0
    for folder in local["selections"][0]["shards"].values():
        name = Path(folder).relative_to(local["root"])
        here = {file.name: file.read_bytes() for file in sorted(Path(folder).iterdir())}
        there = {
            place.rsplit("/", 1)[1]: storage.cat_file(place) for place in storage.ls(f"{variables['HARDMINE_ROOT']}/{name}", detail=False)
        }
        assert here == there, folder
        compared += len(here)
    assert compared > 1
