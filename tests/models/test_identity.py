import json
import shutil

import pytest

from tasks.errors import ModelError
from tasks.models import hardware
from tasks.models.fingerprint import document_spec, folder_digest, query_spec
from tasks.models.location import check_weights, locate, packaged, verify_sha256
from tasks.models.settings import ModelSettings


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "first"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights one")
    (folder / "1_Pooling" / "config.json").write_text('{"mode": "mean"}')
    return folder


def of(folder, **settings):
    return document_spec(ModelSettings(path=str(folder), **settings)).fingerprint


def test_renaming_keeps_and_overwriting_changes(checkpoint):
    before = of(checkpoint)
    renamed = checkpoint.rename(checkpoint.with_name("second"))
    assert of(renamed) == before
    (renamed / "model.safetensors").write_bytes(b"weights two")
    assert of(renamed) != before


@pytest.mark.parametrize(
    ("name", "matters"),
    [
        ("README.md", False),
        (".gitattributes", False),
        ("optimizer.pt", False),
        ("onnx/model.onnx", False),
        ("1_Pooling/config.json", True),
        ("tokenizer.json", True),
        ("modeling.py", True),
    ],
)
def test_which_files_matter(checkpoint, name, matters):
    before = folder_digest(checkpoint)
    (checkpoint / name).parent.mkdir(exist_ok=True)
    (checkpoint / name).write_text("changed")
    assert (folder_digest(checkpoint) != before) == matters


@pytest.mark.parametrize(
    "changed",
    [
        {"document_prompt": "d: "},
        {"max_length": 99},
        {"dtype": "float16"},
        {"truncate_dim": 64},
        {"similarity": "dot"},
        {"title_template": "{text}"},
        {"batch_tokens": 99},
    ],
)
def test_settings_that_change_vectors_change_the_fingerprint(checkpoint, changed):
    base = {"dtype": "float32", "device": "cpu"}
    assert of(checkpoint, **base) != of(checkpoint, **{**base, **changed})


@pytest.mark.parametrize(
    "changed", [{"query_prompt": "q: "}, {"vector_dtype": "float16"}, {"trust_remote_code": True}, {"batch_tokens": 1024}]
)
def test_settings_that_do_not(checkpoint, changed):
    base = {"dtype": "float32", "device": "cpu"}
    assert of(checkpoint, **base) == of(checkpoint, **{**base, **changed})


def test_queries_have_their_own_prompt_and_no_title(checkpoint):
    settings = ModelSettings(path=str(checkpoint), query_prompt="q: ", document_prompt="d: ")
    assert (query_spec(settings).prompt, query_spec(settings).title_template) == ("q: ", "{text}")
    assert document_spec(settings).prompt == "d: "


def test_packaged_has_the_published_weights():
    assert locate("packaged") == locate("packaged:all-MiniLM-L6-v2") == packaged()


def test_damaged_weights_are_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"not it")
    with pytest.raises(ModelError, match="sha256"):
        verify_sha256(tmp_path / "model.safetensors", "0" * 64)


@pytest.mark.fault("weights as a pickle", "`pytorch_model.bin` as the model and as a module of it")
def test_pickles_are_refused(checkpoint):
    (checkpoint / "training_args.bin").write_bytes(b"")
    check_weights(checkpoint, "m")
    (checkpoint / "2_Dense").mkdir()
    (checkpoint / "2_Dense" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"2_Dense/pytorch_model\.bin is a pickle") as raised:
        check_weights(checkpoint, "m")
    assert "safetensors" in raised.value.mend
    shutil.rmtree(checkpoint / "2_Dense")
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickle"):
        locate(str(checkpoint))


def test_missing_models(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="no such folder"):
        locate(str(tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"neither config\.json"):
        locate(str(tmp_path / "empty"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="the hub does not give it") as raised:
        locate("nobody/has-this-model")
    assert "packaged:all-MiniLM-L6-v2" in raised.value.mend


@pytest.mark.parametrize(("flags", "has"), [("fpu avx512_bf16 sse", True), ("fpu amx_bf16", True), ("fpu avx2", False)])
def test_cpu_flags(tmp_path, flags, has):
    (tmp_path / "cpuinfo").write_text(f"processor: 0\nflags\t\t: {flags}\n")
    assert hardware.cpu_has_bfloat16(str(tmp_path / "cpuinfo")) is has
    assert hardware.cpu_has_bfloat16(str(tmp_path / "absent")) is False


def test_explicit_dtype_and_device_stay():
    assert hardware.resolve_dtype("float16", "cpu") == "float16"
    assert hardware.resolve_device("cpu") == "cpu"
    assert hardware.resolve_dtype("auto", "cpu") == ("bfloat16" if hardware.cpu_has_bfloat16() else "float32")


def test_spec_is_json(checkpoint):
    spec = document_spec(ModelSettings(path=str(checkpoint)))
    assert type(spec).model_validate(json.loads(spec.model_dump_json())) == spec
