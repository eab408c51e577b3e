"""A store that fails: tried again where that helps, a clear error where not, and a later run completes."""

import threading

import pyarrow as pa
import pytest

from tasks.errors import StorageError
from tasks.store.manifest import Part, commit_part, read_part
from tasks.store.output import Output
from tasks.store.pointers import read_pointer, update_pointer
from tasks.store.s3 import TIMEOUT
from tasks.store.storage import open_storage
from tasks.store.tables import local_file, read_table
from tests.conftest import free_port
from tests.faults.proxy import proxied, some


@pytest.fixture
def proxy(s3_root, s3_server, monkeypatch):
    with proxied(s3_server, free_port()) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        monkeypatch.setenv(TIMEOUT, "1")
        yield proxy


@pytest.fixture
def storage(proxy, s3_root):
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    yield open_storage(s3_root)
    s3fs.S3FileSystem.clear_instance_cache()


def a_part(storage, number):
    output = Output(storage, f"data/one/{number}")
    output.table("t.parquet", pa.table({"a": [number] * 5000}))
    part = Part(stage="one", key=str(number), index=str(number), files=tuple(output.files))
    commit_part(storage, part)
    return part


FAULTS = ["slow down", "error after it was done", "cut upload", "cut answer", pytest.param("hang", marks=pytest.mark.slow)]


@pytest.mark.fault("a request fails now and then", "a proxy before SeaweedFS spoils three of ten: 503 SlowDown, 500 though done, cut, hung")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_now_and_then_is_tried_again(storage, proxy, record_property, fault):
    """Three of ten requests go wrong; nothing that is read or written does."""
    proxy.plan = some(0.3, (fault,), seed=3)
    for number in range(6):
        part = a_part(storage, number)
        assert read_part(storage, "one", str(number)) == part
        (storage._cache / part.files[0].checksum).unlink(missing_ok=True)
        assert read_table(storage, part.files[0])["a"].to_pylist() == [number] * 5000
        update_pointer(storage, "p", lambda now: {"count": (now or {"count": 0})["count"] + 1})
    assert read_pointer(storage, "p") == {"count": 6}, "a put that was answered with an error and was done counts once"
    assert proxy.done[fault] >= 2
    record_property("tries", proxy.done[fault])
    record_property("places", {fault: proxy.done[fault]})


@pytest.mark.fault("two writers of a pointer on a bad network", "the proxy spoils 15 % of requests of ten moves")
def test_two_writers_of_a_pointer_behind_a_bad_network(storage, proxy, record_property):
    proxy.plan = some(0.15, ("slow down", "error after it was done", "cut upload"), seed=5)

    def add():
        for _ in range(5):
            update_pointer(storage, "p", lambda now: {"count": (now or {"count": 0})["count"] + 1})

    writers = [threading.Thread(target=add) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    proxy.plan = lambda _: "none"
    assert read_pointer(storage, "p") == {"count": 10}
    record_property("tries", sum(proxy.done.values()) - proxy.done["none"])


@pytest.mark.fault("a store is down", "the proxy answers 503 SlowDown to everything")
@pytest.mark.slow  # two minutes of trying again
def test_a_store_that_is_down_is_a_clear_error_and_nothing_half_written_counts(storage, proxy):
    part = a_part(storage, 1)
    proxy.plan = lambda _: "slow down"
    with pytest.raises(StorageError, match=r"cannot write s3://.*(SlowDown|reduce your request rate)"):
        a_part(storage, 2)
    proxy.plan = lambda _: "none"
    assert read_part(storage, "one", "2") is None
    assert read_part(storage, "one", "1") == part
    assert read_part(storage, "one", str(a_part(storage, 2).key)) is not None


@pytest.mark.fault("a listing is behind", "the proxy answers with the first listing it saw")
def test_a_listing_that_is_behind_hides_what_is_new_and_loses_nothing(storage, proxy):
    """Only markers of caches and records of maintenance are listed: what is committed is found by its name."""
    a_part(storage, 1)
    assert storage.list_names("manifests/") == ["manifests/one/parts/1.json"]
    proxy.plan = lambda _: "stale listing"
    part = a_part(storage, 2)
    assert storage.list_names("manifests/") == ["manifests/one/parts/1.json"]
    assert proxy.done["stale listing"] >= 1
    assert read_part(storage, "one", "2") == part
    assert local_file(storage, part.files[0]).stat().st_size == part.files[0].bytes


@pytest.mark.fault("wrong credentials", "another secret key in the environment")
def test_wrong_credentials_are_named_and_not_shown(proxy, s3_root, monkeypatch):
    import s3fs

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-value")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StorageError) as caught:
        open_storage(s3_root).put_bytes("data/x", b"1")
    assert "credentials in the environment" in caught.value.mend
    assert "wrong-secret-value" not in str(caught.value)
    s3fs.S3FileSystem.clear_instance_cache()
