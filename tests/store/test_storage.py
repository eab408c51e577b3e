import threading

import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import StorageError
from tasks.store.output import Output
from tasks.store.pointers import read_pointer, update_pointer
from tasks.store.storage import open_storage
from tasks.store.tables import read_array, read_table


@pytest.fixture(params=["local", "s3"])
def storage(request, tmp_path):
    if request.param == "local":
        return open_storage(str(tmp_path / "root"))
    return open_storage(request.getfixturevalue("s3_root"))


def test_bytes_round_trip_and_sizes(storage):
    assert storage.size("data/x") is None
    storage.put_bytes("data/x", b"hello")
    assert storage.read_bytes("data/x") == b"hello"
    assert storage.size("data/x") == 5
    with pytest.raises(StorageError, match="data/none"):
        storage.read_bytes("data/none")


def test_tables_and_arrays_round_trip_with_equal_bytes(storage):
    table = pa.table({"a": [1, 2, 3], "b": ["x", None, "ü"]})
    first, second = Output(storage, "data/one"), Output(storage, "data/two")
    for output in (first, second):
        output.table("t.parquet", table)
        output.array("v.npy", np.arange(6, dtype=np.float32).reshape(3, 2))
    assert [file.checksum for file in first.files] == [file.checksum for file in second.files]
    assert first.files[0].rows == 3
    assert read_table(storage, first.files[0], ["b"])["b"].to_pylist() == ["x", None, "ü"]
    assert read_array(storage, first.files[1]).tolist() == [[0, 1], [2, 3], [4, 5]]


def test_only_manifests_and_leases_are_listed(storage):
    storage.put_bytes("manifests/a/1.json", b"{}")
    storage.put_bytes("manifests/a/b/2.json", b"{}")
    assert storage.list_names("manifests/a/") == ["manifests/a/1.json", "manifests/a/b/2.json"]
    with pytest.raises(ValueError, match="may be listed"):
        storage.list_names("data/")


def test_pointers_move_only_from_what_was_read(storage):
    data, token = storage.read_pointer("pointers/p.json")
    assert data is None
    assert storage.move_pointer("pointers/p.json", b"one", token)
    assert not storage.move_pointer("pointers/p.json", b"two", token)
    data, token = storage.read_pointer("pointers/p.json")
    assert data == b"one"
    assert storage.move_pointer("pointers/p.json", b"two", token)
    assert storage.read_pointer("pointers/p.json")[0] == b"two"


def test_no_update_is_lost_between_writers(storage):
    def add():
        for _ in range(5):
            update_pointer(storage, "count", lambda present: {"n": (present or {"n": 0})["n"] + 1})

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_pointer(storage, "count") == {"n": 20}


def test_a_root_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="file"):
        open_storage(str(tmp_path / "file"))
    with pytest.raises(StorageError, match="unknown scheme"):
        open_storage("gopher://x")
