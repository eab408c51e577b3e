import json
import subprocess
import sys
import threading
import time

import pytest

from tasks.errors import StorageError
from tasks.store.holder import Holder
from tasks.store.lease import Lease, at_work, clear_signs, clearing, runs, turn
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


@pytest.mark.fault("the holder of a lease is gone", "a lease of a process that has ended")
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


@pytest.mark.fault("the holder of a lease is stopped", "its lease is overwritten by another, as if it had slept through the expiry")
def test_a_holder_that_was_stopped_for_too_long_notices(tmp_path):
    storage = open_storage(str(tmp_path))
    lease = Lease(storage, "x", expiry=0.4)
    lease.take()
    put(storage, machine="elsewhere", pid=7, id="other", until=time.time() + 100)
    time.sleep(0.5)
    assert lease.lost.id == "other"
    lease.release()
    assert held(storage).id == "other"  # it leaves what is not its own


@pytest.mark.fault("a damaged lease", "half a lease")
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


def test_a_root_that_cannot_be_written_can_be_read_and_not_written(tmp_path):
    storage = open_storage(str(tmp_path))
    storage.put_bytes("data/x", b"1")
    (tmp_path / "leases").write_text("no folder can be made here")
    with at_work(storage, "export", writes=False):
        assert storage.read_bytes("data/x") == b"1"
    with pytest.raises(StorageError, match=r"cannot write .*leases"):
        Lease(storage, "x").take()
    with pytest.raises(StorageError, match=r"cannot write .*leases"), at_work(storage, "mine"):
        pytest.fail("it would write without a sign of life")


def test_a_reader_signs_as_soon_as_the_store_lets_it(tmp_path):
    storage = open_storage(str(tmp_path))
    (tmp_path / "leases").write_text("not yet")
    with at_work(storage, "export", writes=False):
        (tmp_path / "leases").unlink()
        wait_until(lambda: [one.what for one in runs(storage)] == ["export"])
    assert runs(storage) == []


@pytest.mark.fault("a run is cut off from the store", "the folder of leases is a file for longer than the expiry")
def test_a_sign_of_life_that_was_cut_off_comes_back(tmp_path):
    """While the store takes nothing the lease expires; it is put again within a second of the store's return, and has lapsed for ever."""
    storage = open_storage(str(tmp_path))
    lease = Lease(storage, "runs/x", "mine", expiry=0.4)
    assert lease.take() is None and lease.held
    (tmp_path / "leases").rename(tmp_path / "away")
    (tmp_path / "leases").write_text("no folder can be made here")
    wait_until(lambda: not lease.held)
    (tmp_path / "leases").unlink()
    (tmp_path / "away").rename(tmp_path / "leases")
    wait_until(lambda: [one.what for one in runs(storage)] == ["mine"])
    assert not lease.held
    lease.release()


def wait_until(true, timeout=10):
    until = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.fault("a run begins while files are removed", "both orders")
def test_a_run_waits_while_files_are_removed_and_none_are_while_it_runs(storage):
    order = []

    def mine():
        with at_work(storage, "mine"):
            order.append("mine")
            time.sleep(0.3)

    with at_work(storage, "gc"), clearing(storage, "gc") as (lease, others):
        assert others == [] and lease.held
        run = threading.Thread(target=mine)
        run.start()
        time.sleep(0.6)
        order.append("removed")
    wait_until(lambda: "mine" in order)
    with clearing(storage, "gc") as (_, others):
        assert [one.what for one in others] == ["mine"]
    run.join()
    assert order == ["removed", "mine"]


def test_who_may_come_back_counts_for_those_who_remove(tmp_path):
    """A process of this machine that is there, by number and start; one elsewhere that was heard of within the hour."""
    storage, here = open_storage(str(tmp_path)), Holder.here("mine")
    late = {"until": time.time() - 100}
    put_run(storage, "stopped", here.model_copy(update=late))
    put_run(storage, "elsewhere", here.model_copy(update={**late, "machine": "elsewhere", "what": "train"}))
    put_run(storage, "long gone", here.model_copy(update={"until": time.time() - 4000, "machine": "elsewhere"}))
    put_run(storage, "another process", here.model_copy(update={**late, "born": here.born - 500}))
    assert runs(storage) == []
    assert sorted(one.what for one in runs(storage, gone=False)) == ["mine", "train"]
    clear_signs(storage)
    assert storage.list_names("leases/runs/") == ["leases/runs/elsewhere.json", "leases/runs/stopped.json"]


def put_run(storage, name, holder):
    storage.put_bytes(f"leases/runs/{name}.json", holder.model_dump_json().encode())


def test_runs_at_work_are_seen(storage):
    assert runs(storage) == []
    with at_work(storage, "mine"), at_work(storage, "train"):
        assert [one.what for one in runs(storage)] == ["mine", "train"]
    assert runs(storage) == []
