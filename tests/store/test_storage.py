import io
import json
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import StorageError
from tasks.store.keys import bytes_checksum, file_checksum
from tasks.store.manifest import Part, commit_part, part_name, read_part
from tasks.store.output import Output
from tasks.store.pointers import read_pointer, rebuild_pointer, update_pointer
from tasks.store.seal import seal, unseal
from tasks.store.storage import open_storage
from tasks.store.tables import let_go, local_file, read_array, read_table


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


@pytest.mark.fault("many writers of a pointer", "threads that count in one pointer, on a disk and on S3")
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


def test_pages_that_were_let_go_are_read_again(tmp_path):
    storage = open_storage(str(tmp_path))
    output = Output(storage, "data/x")
    output.array("v.npy", np.arange(1 << 20, dtype=np.float32))
    mapped = read_array(storage, output.files[0])
    assert float(mapped.sum(dtype=np.float64)) == (2**20 - 1) * 2**19  # all pages are touched
    before = resident()
    let_go(mapped)
    assert resident() <= before - 3_000_000 and mapped[-1] == 2**20 - 1  # of 4 MiB
    let_go(np.ones(3))


def resident():
    return int(Path("/proc/self/statm").read_text().split()[2]) * 4096  # pages of files


@pytest.mark.parametrize("shape", [(3, 2), (0, 2), (4, 0)])
def test_an_array_that_is_filled_in_place_has_the_same_bytes(storage, shape):
    values = np.arange(np.prod(shape), dtype=np.float16).reshape(shape)
    whole, pieces = Output(storage, "data/whole"), Output(storage, "data/pieces")
    whole.array("a.npy", values)
    with pieces.filled_array("a.npy", shape, np.float16) as array:
        for row in range(shape[0]):
            array[row] = values[row]
    assert [(file.name, file.bytes, file.checksum, file.rows) for file in pieces.files] == [
        (file.name, file.bytes, file.checksum, file.rows) for file in whole.files
    ]


def committed(storage):
    """A part of two files, and its folder."""
    output = Output(storage, "data/one/k")
    output.table("t.parquet", pa.table({"a": list(range(1000))}))
    output.array("v.npy", np.arange(600, dtype=np.float32))
    part = Part(stage="one", key="k", index="0", files=tuple(output.files))
    commit_part(storage, part)
    return part


def overwrite(storage, name, data):
    """Also in the copies that this machine keeps of objects."""
    if not storage.is_local and storage.size(name):
        (storage._cache / bytes_checksum(storage.read_bytes(name))).unlink(missing_ok=True)
    storage.put_bytes(name, data)


def test_a_file_that_is_read_in_part_has_no_checksum(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    whole = file_checksum(path)
    monkeypatch.setattr("pathlib.Path.open", lambda self, mode: io.BytesIO(b"01234"))
    with pytest.raises(OSError, match="5 of 10 bytes were read"):
        file_checksum(path)
    monkeypatch.undo()
    assert file_checksum(path) == whole


@pytest.mark.fault("a flipped byte of a file", "a table and an array, on a disk and on S3")
@pytest.mark.parametrize("which", ["t.parquet", "v.npy"])
def test_a_flipped_byte_is_noticed_named_and_set_aside(storage, which):
    record = committed(storage).file(which)
    data = bytearray(storage.read_bytes(record.path))
    data[len(data) // 2] ^= 1
    overwrite(storage, record.path, bytes(data))
    assert read_part(storage, "one", "k") is not None  # the size is right
    with pytest.raises(StorageError, match=f"{record.path} was damaged"):
        local_file(storage, record)
    assert storage.read_bytes(f"damaged/{record.path}") == bytes(data)
    assert read_part(storage, "one", "k") is None  # so the next run makes it again
    committed(storage)
    assert local_file(storage, record).stat().st_size == record.bytes


def test_a_cut_file_is_missing_to_the_next_run(storage):
    record = committed(storage).file("t.parquet")
    overwrite(storage, record.path, storage.read_bytes(record.path)[:-7])
    assert read_part(storage, "one", "k") is None
    with pytest.raises(StorageError, match="was damaged"):
        local_file(storage, record)


@pytest.mark.fault("the local copy of an object is damaged", "overwritten in the cache")
def test_a_local_copy_that_went_bad_is_fetched_anew(s3_root):
    storage = open_storage(s3_root)
    record = committed(storage).file("v.npy")
    copy = local_file(storage, record)
    copy.write_bytes(b"x" * record.bytes)
    assert read_array(storage, record).tolist() == list(range(600))


@pytest.mark.fault("a changed record", "cut, edited, emptied, on a disk and on S3")
@pytest.mark.parametrize("change", [lambda data: data[:-3], lambda data: data.replace(b'"seconds": 0.0', b'"seconds": 0.5'), lambda _: b""])
def test_a_manifest_that_was_changed_counts_for_nothing(storage, change):
    committed(storage)
    name = part_name("one", "k")
    overwrite(storage, name, change(storage.read_bytes(name)))
    assert read_part(storage, "one", "k") is None
    assert storage.size(name) is None


@pytest.mark.fault("any byte of a record changes", "a random byte by a random change")
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_of_a_sealed_record_is_noticed(place, change):
    part = Part(stage="one", key="k", index="0", files=(), counters={"model_calls": 3}, seconds=1.25)
    data = bytearray(seal(part.model_dump_json(indent=1).encode()))
    assert Part.model_validate_json(unseal(bytes(data))) == part
    data[place % len(data)] ^= change
    try:
        found = Part.model_validate_json(unseal(bytes(data)))
    except ValueError:
        return
    assert found == part  # white space between the fields


@pytest.mark.parametrize("place", range(len(',\n "seal": "')))
def test_a_seal_whose_name_was_changed_is_broken(place):
    data = bytearray(seal(b'{\n "documents": 2\n}'))
    data[data.index(b',\n "seal": "') + place] ^= 4
    with pytest.raises(ValueError, match=r"the seal is broken|Expecting|Invalid|Extra|delimiter"):
        json.loads(unseal(bytes(data)))


@pytest.mark.fault("a pointer vanishes", "deleted, on a disk and on S3")
def test_a_pointer_that_vanished_is_not_taken_for_one_that_never_was(storage):
    assert read_pointer(storage, "rounds/p") is None
    update_pointer(storage, "rounds/p", lambda _: {"latest": 3})
    update_pointer(storage, "latest/p", lambda _: {"round": 3})
    storage.remove("pointers/rounds/p.json")
    storage.remove("pointers/latest/p.json")
    for look in (lambda: read_pointer(storage, "rounds/p"), lambda: update_pointer(storage, "rounds/p", lambda _: {"latest": 1})):
        with pytest.raises(StorageError, match=r"pointers/rounds/p\.json is missing"):
            look()
    assert read_pointer(storage, "latest/p") is None, "the next run makes it anew"
    rebuild_pointer(storage, "rounds/p", {"latest": 3})
    assert read_pointer(storage, "rounds/p") == {"latest": 3}


def test_a_damaged_pointer_is_named(storage):
    update_pointer(storage, "p", lambda _: {"latest": 3})
    assert read_pointer(storage, "p") == {"latest": 3}
    overwrite(storage, "pointers/p.json", storage.read_bytes("pointers/p.json").replace(b"3", b"4"))
    with pytest.raises(StorageError, match=r"pointers/p\.json is damaged"):
        read_pointer(storage, "p")
