import json
import time

import pytest

from tasks.errors import StorageError, UsageError
from tasks.store.storage import open_storage
from tasks.watch.lease import Lease


@pytest.fixture(params=["local", "s3"])
def storage(request, tmp_path):
    return open_storage(str(tmp_path / "root") if request.param == "local" else request.getfixturevalue("s3_root"))


def held(storage):
    return json.loads(storage.read_bytes("leases/watch/toy.json"))


def test_one_watcher_a_dataset_and_the_next_when_it_is_done(storage):
    with Lease(storage, "toy"):
        with pytest.raises(UsageError, match="is at work on dataset 'toy'"), Lease(storage, "toy"):
            pytest.fail("two at once")
        with Lease(storage, "other"):
            pass
        assert held(storage)["until"] > time.time() + 30
    assert held(storage)["until"] == 0
    with Lease(storage, "toy"):
        pass


def test_it_is_renewed_while_held_and_expires_with_its_holder(tmp_path):
    storage = open_storage(str(tmp_path))
    with Lease(storage, "toy", expiry=0.8):
        time.sleep(1.2)
        with pytest.raises(UsageError), Lease(storage, "toy", expiry=0.8):
            pytest.fail("it was renewed")
    storage.put_bytes("leases/watch/toy.json", json.dumps({"holder": "gone:1", "id": "x", "until": time.time() - 1}).encode())
    with Lease(storage, "toy"):
        assert held(storage)["holder"] != "gone:1"


def test_a_holder_that_was_stopped_for_too_long_notices(tmp_path):
    storage = open_storage(str(tmp_path))
    with Lease(storage, "toy", expiry=0.4) as lease:
        lease.check()
        other = {"holder": "elsewhere:7", "id": "other", "until": time.time() + 100}
        storage.put_bytes("leases/watch/toy.json", json.dumps(other).encode())
        time.sleep(0.5)
        with pytest.raises(StorageError, match="elsewhere:7"):
            lease.check()
    assert held(storage) == other  # it leaves what is not its own
