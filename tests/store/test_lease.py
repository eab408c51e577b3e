import json
import subprocess
import sys
import time

import pytest

from tasks.errors import StorageError
from tasks.store.lease import Holder, Lease, at_work, runs, turn
from tasks.store.storage import open_storage


@pytest.fixture(params=["local", "s3"])
def storage(request, tmp_path):
    return open_storage(str(tmp_path / "root") if request.param == "local" else request.getfixturevalue("s3_root"))


def held(storage, name="x"):
    return Holder.model_validate_json(storage.read_bytes(f"leases/{name}.json"))


def put(storage, **holder):
    storage.put_bytes("leases/x.json", Holder(**holder).model_dump_json().encode())


def test_one_at_a_time_and_the_next_when_it_is_done(storage):
    first, second, other = Lease(storage, "x", "this"), Lease(storage, "x"), Lease(storage, "y")
    assert first.take() is None
    assert second.take() == held(storage)
    assert (second.take().what, str(second.take())) == ("this", str(held(storage)))
    assert other.take() is None
    other.release()
    assert held(storage).until > time.time() + 30
    second.release()  # it has nothing to give back
    assert held(storage).alive
    first.release()
    assert storage.size("leases/x.json") is None
    assert Lease(storage, "x").take() is None


def test_it_is_renewed_while_held_and_expires_with_its_holder(tmp_path):
    storage = open_storage(str(tmp_path))
    lease = Lease(storage, "x", expiry=0.8)
    assert lease.take() is None
    time.sleep(1.2)
    assert Lease(storage, "x").take() is not None, "it was renewed"
    put(storage, machine="elsewhere", pid=1, id="gone", until=time.time() - 1)
    assert Lease(storage, "x").take() is None


def test_a_process_of_this_machine_that_is_gone_holds_nothing(tmp_path):
    storage = open_storage(str(tmp_path))
    program = (
        "import os; from tasks.store.lease import Lease; from tasks.store.storage import open_storage;"
        f"assert Lease(open_storage({str(tmp_path)!r}), 'x').take() is None; os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    assert held(storage).until > time.time() + 30
    assert not held(storage).alive
    assert Lease(storage, "x").take() is None


def test_a_holder_that_was_stopped_for_too_long_notices(tmp_path):
    storage = open_storage(str(tmp_path))
    lease = Lease(storage, "x", expiry=0.4)
    lease.take()
    put(storage, machine="elsewhere", pid=7, id="other", until=time.time() + 100)
    time.sleep(0.5)
    assert lease.lost.id == "other"
    lease.release()
    assert held(storage).id == "other"  # it leaves what is not its own


def test_a_damaged_lease_is_free(tmp_path):
    storage = open_storage(str(tmp_path))
    storage.put_bytes("leases/x.json", b'{"until": 99999999')
    assert Lease(storage, "x").take() is None


def test_a_turn_waits_and_says_so(tmp_path):
    storage, told = open_storage(str(tmp_path)), []
    with turn(storage, "x", "first", told.append) as waited:
        assert not waited
    put(storage, machine="elsewhere", pid=7, id="other", until=time.time() + 1.5)
    with turn(storage, "x", "second", told.append) as waited:
        assert waited
        assert json.loads(storage.read_bytes("leases/x.json"))["what"] == "second"
    assert [str(one) for one in told] == ["process 7 on elsewhere"]


def test_a_root_that_cannot_be_written_can_be_read(tmp_path):
    storage = open_storage(str(tmp_path))
    storage.put_bytes("data/x", b"1")
    (tmp_path / "leases").write_text("no folder can be made here")
    with at_work(storage, "export"):
        assert storage.read_bytes("data/x") == b"1"
    with pytest.raises(StorageError, match=r"cannot write .*leases"):
        Lease(storage, "x").take()


def test_runs_at_work_are_seen(storage):
    assert runs(storage) == []
    with at_work(storage, "mine"), at_work(storage, "train"):
        assert [one.what for one in runs(storage)] == ["mine", "train"]
    assert runs(storage) == []
