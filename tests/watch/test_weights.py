import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from tasks.errors import ModelError
from tasks.watch.weights import check_whole


@pytest.fixture
def folder(tmp_path):
    save_file(
        {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(5, np.float16)}, tmp_path / "one.safetensors", {"format": "pt"}
    )
    save_file({"c": np.zeros(4, np.int64)}, tmp_path / "two.safetensors")
    weights = {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weights}))
    return tmp_path


def test_whole_weights_pass(folder):
    check_whole(folder, "c")


@pytest.mark.parametrize("left", [0, 4, 8, 40, -1])
def test_a_cut_file_is_found_wherever_it_is_cut(folder, left):
    whole = (folder / "one.safetensors").read_bytes()
    (folder / "one.safetensors").write_bytes(whole[:left])
    with pytest.raises(ModelError, match=r"checkpoint c: one\.safetensors (has|is no)"):
        check_whole(folder, "c")


def test_sizes_are_told(folder):
    size = (folder / "two.safetensors").stat().st_size
    with (folder / "two.safetensors").open("ab") as handle:
        handle.write(b"12345")
    with pytest.raises(ModelError, match=f"two.safetensors has {size + 5:,} bytes, its header says {size:,}"):
        check_whole(folder, "c")


def test_a_part_that_the_index_names_must_be_there(folder):
    (folder / "two.safetensors").unlink()
    with pytest.raises(ModelError, match=r"two\.safetensors is missing"):
        check_whole(folder, "c")


def test_other_files_are_not_looked_at(folder):
    (folder / "checkpoint-3").mkdir()
    shutil.copy(folder / "one.safetensors", folder / "checkpoint-3")
    (folder / "checkpoint-3/one.safetensors").write_bytes(b"cut")
    check_whole(folder, "c")
