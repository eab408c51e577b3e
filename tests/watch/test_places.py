"""What is seen of a trainer's folder, local and on a real S3 server."""

import shutil
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
from safetensors.numpy import save_file

from tasks.errors import ModelError, UsageError
from tasks.models.location import check_weight_names
from tasks.store.s3 import S3Storage
from tasks.watch.places import Changed, LocalPlace, S3Place, open_place
from tasks.watch.settings import WatchSettings

NOW = WatchSettings(stable_for=3600)


@pytest.fixture
def weights(tmp_path):
    save_file({"a": np.arange(6, dtype=np.float32)}, tmp_path / "weights")
    return (tmp_path / "weights").read_bytes()


@pytest.fixture(params=["local", "s3"])
def trainer(request, tmp_path):
    """(place, a function that writes a file there)."""
    if request.param == "local":

        def write(name, data=b"{}"):
            target = tmp_path / "run" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

        return open_place(str(tmp_path / "run"), str(tmp_path / "root")), write
    prefix = f"{request.getfixturevalue('s3_root')}/run"
    fs, base = fsspec.core.url_to_fs(prefix)
    return open_place(prefix, str(tmp_path / "root")), lambda name, data=b"{}": fs.pipe_file(f"{base}/{name}", data)


def waits(place, settings=NOW):
    return {one.name: one.waits_for(settings, 0.0) for one in place.look()}


def test_a_checkpoint_grows_until_its_marker_is_the_last_file(trainer, weights):
    place, write = trainer
    assert place.look() == []  # the trainer has not begun
    write("log.txt", b"")
    write("runs/events", b"")
    write("checkpoint-5/config.json")
    assert waits(place) == {"checkpoint-5": "its weights"}
    write("checkpoint-5/model.safetensors", weights)
    assert waits(place) == {"checkpoint-5": "3600 s without a change"}
    write("checkpoint-5/trainer_state.json")
    assert waits(place) == {"checkpoint-5": None}
    time.sleep(1.1)
    write("checkpoint-5/model.safetensors", weights)  # overwritten in place: the marker is from before
    assert waits(place) == {"checkpoint-5": "3600 s without a change"}
    assert waits(place, WatchSettings(marker="done")) == {"checkpoint-5": "the marker done"}


def test_a_checkpoint_becomes_a_local_folder(trainer, weights):
    place, write = trainer
    for name, data in (
        ("modules.json", b"[]"),
        ("1_Pooling/config.json", b"{}"),
        ("model.safetensors", weights),
        ("optimizer.pt", b"state"),
    ):
        write(f"checkpoint-5/{name}", data)
    (seen,) = place.look()
    folder = place.bring(seen)
    assert (folder / "model.safetensors").read_bytes() == weights
    assert (folder / "1_Pooling/config.json").exists()
    assert place.bring(seen) == folder
    if isinstance(place, S3Place):
        assert not (folder / "optimizer.pt").exists()
        assert folder.name == f"checkpoint-5-{seen.signature[:16]}"
        (folder / "mine").write_text("")
        assert (place.bring(seen) / "mine").exists()  # not fetched again


def test_what_changes_while_it_is_fetched_is_not_taken(s3_root, tmp_path, weights):
    place, storage = S3Place(f"{s3_root}/run", tmp_path), S3Storage(f"{s3_root}/run")
    storage.put_bytes("c/config.json", b"{}")
    storage.put_bytes("c/model.safetensors", weights)
    (before,) = place.look()
    storage.put_bytes("c/config.json", b"{ }")
    with pytest.raises(Changed):
        place.bring(before)
    assert list(tmp_path.iterdir()) == [tmp_path / "weights"]
    (after,) = place.look()
    assert (place.bring(after) / "config.json").read_bytes() == b"{ }"


def test_pickles_are_refused_by_name():
    names = ["config.json", "pytorch_model.bin", "optimizer.pt"]
    with pytest.raises(ModelError, match=r"checkpoint-5: pytorch_model\.bin is a pickle"):
        check_weight_names(names, "checkpoint-5")
    check_weight_names([*names, "model.safetensors"], "checkpoint-5")


def test_a_folder_that_is_removed_meanwhile_is_simply_gone(tmp_path):
    place = LocalPlace(tmp_path / "run")
    (tmp_path / "run/c").mkdir(parents=True)
    (tmp_path / "run/c/config.json").write_text("{}")
    assert [one.name for one in place.look()] == ["c"]
    shutil.rmtree(tmp_path / "run")
    assert place.look() == []


def test_schemes(tmp_path):
    with pytest.raises(UsageError, match="unknown scheme"):
        open_place("gs://bucket/run", str(tmp_path))
    assert open_place("~/run", str(tmp_path)).name == str(Path.home() / "run")
