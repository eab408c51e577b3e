"""Checkpoints in the root: one name wherever it is mounted, an identity without fetching, a cache that mends itself."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from flows.settings import MineSettings
from tasks.errors import ModelError
from tasks.models.fingerprint import document_spec, folder_digest, part_digest, query_spec
from tasks.models.materialise import materialise, spec_here
from tasks.models.settings import ModelSettings
from tasks.models.shape import Shape, shape_of
from tasks.models.stored import as_reference, location, reference, stored_part
from tasks.store.keys import digest
from tasks.store.manifest import Part, commit_part
from tasks.store.output import Output
from tasks.store.storage import open_storage

FILES = {
    "README.md": b"a card",
    "1_Pooling/config.json": b'{"embedding_dimension": 8}',
    "modules.json": b'[{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]',
    "config.json": b"{}",
    "model.safetensors": b"weights",
}
KEY = digest("a training")
NAME = f"root:data/train-retriever/{KEY}/model"
READ = """
import sys
from tasks.models.materialise import spec_here
from tasks.models.fingerprint import ModelSpec
from tasks.store.storage import open_storage
print(spec_here(open_storage(sys.argv[1]), ModelSpec.model_validate_json(sys.argv[2])).path)
"""


def commit(storage):
    """A model of a few files, as a training leaves it."""
    out = Output(storage, f"data/train-retriever/{KEY}")
    for name, data in FILES.items():
        out.data(f"model/{name}", data)
    part = Part(stage="train-retriever", key=KEY, index="retriever", files=tuple(out.files))
    commit_part(storage, part)
    return part


@pytest.fixture(params=["local", "s3"])
def storage(request, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    tempfile.tempdir = None
    yield open_storage(str(tmp_path / "root") if request.param == "local" else request.getfixturevalue("s3_root"))
    tempfile.tempdir = None


def test_a_name_and_a_place(storage, tmp_path):
    part = commit(storage)
    assert reference(part) == NAME
    assert location(storage, NAME) == f"{storage.root}/data/train-retriever/{KEY}/model"
    assert as_reference(storage, location(storage, NAME)) == NAME
    assert as_reference(storage, f"{location(storage, NAME)}/") == NAME
    assert stored_part(storage, NAME) == part
    for path in (NAME, "packaged", "name/of-a-hub-model", str(tmp_path), f"{storage.root}/data/train-retriever/{digest('x')}/model"):
        assert as_reference(storage, path) == path
    assert location(storage, "packaged") == "packaged"


def test_its_identity_needs_no_file(storage, tmp_path):
    part = commit(storage)
    spec = document_spec(ModelSettings(path=NAME), storage)
    if not storage.is_local:
        assert not (tmp_path / "cache" / f"hardmine-{os.getuid()}" / "models").exists()
    plain = tmp_path / "plain"
    for name, data in FILES.items():
        (plain / name).parent.mkdir(parents=True, exist_ok=True)
        (plain / name).write_bytes(data)
    assert part_digest(part) == folder_digest(plain) == folder_digest(materialise(storage, part))
    assert spec.fingerprint == document_spec(ModelSettings(path=str(plain))).fingerprint
    assert shape_of(ModelSettings(path=NAME), storage) == shape_of(ModelSettings(path=str(plain))) == Shape(8, "cosine")
    assert spec.path == NAME


def test_a_worker_brings_it_into_its_own_cache(storage, tmp_path):
    """Another process, whose folder for temporary files is another one."""
    commit(storage)
    spec = query_spec(ModelSettings(path=NAME), storage)
    here = Path(spec_here(storage, spec).path)
    other = tmp_path / "worker"
    other.mkdir()
    arguments = [sys.executable, "-c", READ, storage.root, spec.model_dump_json()]
    found = subprocess.run(arguments, env={**os.environ, "TMPDIR": str(other)}, capture_output=True, text=True, check=True)
    there = Path(found.stdout.strip())
    assert there.is_relative_to(Path(storage.root) if storage.is_local else other)
    assert (there == here) == storage.is_local
    assert folder_digest(there) == spec.weights
    assert spec_here(storage, spec.model_copy(update={"path": "packaged"})).path == "packaged"


def test_a_cache_that_lost_a_file_is_filled_again(storage):
    if storage.is_local:
        pytest.skip("a local root has no cache")
    part = commit(storage)
    folder = materialise(storage, part)
    (folder / "model.safetensors").unlink()
    assert materialise(storage, part) == folder
    assert (folder / "model.safetensors").read_bytes() == b"weights"


def test_settings_name_it_alike_wherever_the_root_lies(tmp_path):
    first = open_storage(str(tmp_path / "first"))
    commit(first)
    shutil.copytree(first.root, tmp_path / "second")
    names = []
    for root in ("first", "second"):
        storage = open_storage(str(tmp_path / root))
        values = {"dataset": {"name": "toy", "format": "beir", "path": "/data"}, "model": {"path": location(storage, NAME)}}
        settings = MineSettings.model_validate({**values, "teacher": {"train": {"body": location(storage, NAME)}}}).under(storage)
        names.append((settings.model.path, settings.teacher.train.body))
    assert names == [(NAME, NAME)] * 2


def test_what_is_not_there_is_said(storage):
    for path, message in (("root:elsewhere", "not the name"), (NAME, "has none of it")):
        with pytest.raises(ModelError, match=message):
            document_spec(ModelSettings(path=path), storage)
    with pytest.raises(ModelError, match="none is known here"):
        document_spec(ModelSettings(path=NAME))
