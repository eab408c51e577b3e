"""A real S3 server that ignores conditional puts."""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from flows.doctor import examine
from tasks.errors import StorageError
from tasks.store.lease import at_work, runs, swaps
from tasks.store.storage import open_storage
from tests.conftest import free_port, use_s3


@pytest.fixture(scope="module")
def rclone(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("rclone"), free_port()
    (folder / "bucket").mkdir()
    program = Path(sys.executable).with_name("rclone")
    process = subprocess.Popen(
        [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", "key,secret", "--config", "/dev/null", folder],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(80):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=1)
        except urllib.error.HTTPError:
            break
        except OSError:
            time.sleep(0.25)
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait(20)


@pytest.fixture
def storage(rclone, monkeypatch):
    use_s3(monkeypatch, rclone)
    return open_storage("s3://bucket/root")


@pytest.mark.fault("a store that ignores conditional puts", "rclone's S3 server, two runs")
def test_one_run_at_a_time_where_conditional_puts_are_ignored(storage):
    assert not swaps(storage)
    with at_work(storage, "mine"):
        with pytest.raises(StorageError, match=r"is at work \(mine\), and this store ignores conditional puts"), at_work(storage, "train"):
            pytest.fail("two at once")
        assert [one.what for one in runs(storage)] == ["mine"]
    with at_work(storage, "train"):
        assert [one.what for one in runs(storage)] == ["train"]


def test_doctor_says_so(storage):
    found = next(one for one in examine("s3://bucket/root") if one.what == "storage root")
    assert found.state == "ok"
    assert "conditional puts ignored: single-writer mode" in found.detail


def test_two_runs_at_once_elsewhere(s3_root):
    storage = open_storage(s3_root)
    assert swaps(storage)
    with at_work(storage, "mine"), at_work(storage, "train"):
        assert len(runs(storage)) == 2
