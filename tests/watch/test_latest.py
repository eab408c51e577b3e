"""The pointer that a trainer follows."""

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from tasks.audit.latest import move_latest, read_latest
from tasks.audit.records import ShardsRef, publish_round, read_round
from tests.audit.world import new_world, stage


@pytest.fixture(params=["local", "s3"])
def world(request, tmp_path):
    return new_world(tmp_path / "root" if request.param == "local" else request.getfixturevalue("s3_root"))


def with_files(world, record, key):
    """The record with a format of two files with three rows, and a sidecar."""
    tables = {"data/train-0.parquet": pa.table({"a": [1, 2]}), "data-late/train-0.parquet": pa.table({"a": [3]})}
    ref = stage(world.storage, "shards", key, {**tables, "sidecar/train-0.parquet": pa.table({"b": [1, 2]})})
    shards = {"triplet": ShardsRef(stage=ref.stage, key=ref.key, folder=f"data/shards/{key}/data")}
    vectors = stage(world.storage, "embed-queries", key, {})
    chosen = record.selections[0].model_copy(update={"shards": shards})
    return record.model_copy(
        update={"selections": (chosen,), "settings": {"model": {"path": f"m-{key}"}}, "roles": {"query_vectors": vectors}}
    )


def test_it_names_files_that_are_there_with_sizes_and_checksums(world):
    assert read_latest(world.storage, "toy") is None
    published = publish_round(world.storage, with_files(world, world.first(), "one"))
    latest = read_latest(world.storage, "toy")
    assert {name: latest[name] for name in ("dataset", "round", "created", "candidate_set_id", "selection_id", "recipe")} == {
        "dataset": "toy", "round": 1, "created": published.created, "candidate_set_id": "c1", "selection_id": "s1", "recipe": "top",
    }  # fmt: skip
    assert latest["checkpoint"]["path"] == "m-one"
    triplet = latest["formats"]["triplet"]
    assert triplet["folder"] == "data/shards/one/data"
    assert triplet["rows"] == 3
    assert [file["path"] for file in triplet["files"]] == [
        "data/shards/one/data/train-0.parquet",
        "data/shards/one/data-late/train-0.parquet",
    ]
    for file in triplet["files"]:
        assert world.storage.size(file["path"]) == file["bytes"]
        assert len(file["checksum"]) == 32


def test_it_never_goes_back(world):
    publish_round(world.storage, with_files(world, world.first(), "one"))
    publish_round(world.storage, with_files(world, world.second(), "two"))
    assert read_latest(world.storage, "toy")["round"] == 2
    publish_round(world.storage, with_files(world, world.first(), "one"))  # the same candidates: round 1 again
    assert read_round(world.storage, "toy").number == 2
    assert read_latest(world.storage, "toy")["round"] == 2
    assert move_latest(world.storage, "toy", 1)["round"] == 2


def test_another_selection_of_the_newest_round_replaces_it_and_an_added_one_does_not(world):
    first = publish_round(world.storage, with_files(world, world.first(), "one"))
    other = first.selections[0].model_copy(update={"selection_id": "s9", "recipe": "bge"})
    publish_round(world.storage, first.model_copy(update={"selections": (other,), "selection_id": "s9"}), add_only=True)
    assert read_latest(world.storage, "toy")["recipe"] == "top"
    publish_round(world.storage, first.model_copy(update={"selections": (other,), "selection_id": "s9"}))
    latest = read_latest(world.storage, "toy")
    assert (latest["round"], latest["recipe"]) == (1, "bge")


def test_it_stays_where_a_file_of_the_round_is_gone(world):
    publish_round(world.storage, with_files(world, world.first(), "one"))
    record = with_files(world, world.second(), "two")
    world.storage.remove("data/shards/two/data/train-0.parquet")
    publish_round(world.storage, record)
    assert read_round(world.storage, "toy").number == 2
    assert read_latest(world.storage, "toy")["round"] == 1


@pytest.mark.fault("eight publishers at once, and what is latest", "threads on one root")
def test_publishers_at_once_leave_the_highest_number(tmp_path):
    world = new_world(tmp_path)
    base = with_files(world, world.first(), "one")
    records = [base.model_copy(update={"candidate_set_id": f"c{n}"}) for n in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda record: publish_round(world.storage, record), records))
    latest = read_latest(world.storage, "toy")
    assert latest["round"] == 8
    assert latest["candidate_set_id"] == read_round(world.storage, "toy", 8).candidate_set_id
