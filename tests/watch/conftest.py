"""Checkpoints of the packaged model, and a root on which rounds with them are mined already but not published."""

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from flows.mine import mine_round
from flows.round import compose_recipes, mine_candidates, prepare_dataset
from flows.settings import MineSettings
from tasks.errors import GateError
from tasks.models.location import packaged
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.keys import file_checksum
from tasks.store.seal import unseal
from tasks.store.storage import open_storage
from tests.e2e.conftest import round_settings, write_collection

GOOD, BETTER, BAD = 1, 2, 3  # layers of the packaged model that a checkpoint keeps
OTHER = 4  # of one that no test may mine: nothing of it is prepared
UPPER = ("encoder.layer.4", "encoder.layer.5")


class Silent:
    def __enter__(self):
        return self

    def __exit__(self, *_): ...
    def start(self, stage, unit, total, done): ...
    def advance(self, stage, units): ...
    def finish(self, manifest, cached): ...
    def say(self, text): ...


@cache
def weights():
    """The packaged weights without the upper layers, in half precision: less to read and to send."""
    folder = Path(tempfile.mkdtemp(prefix="hardmine-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    kept = {name: value for name, value in load_file(packaged() / "model.safetensors").items() if not name.startswith(UPPER)}
    halves = {name: value.astype(np.float16) if value.dtype == np.float32 else value for name, value in kept.items()}
    save_file(halves, folder / "model.safetensors", {"format": "pt"})
    return folder / "model.safetensors"


def save(folder, layers, marker="_SUCCESS"):
    """A checkpoint as a trainer writes it: the packaged model with fewer layers; its weights are a link, the marker comes last."""
    for file in packaged().rglob("*"):
        target = folder / file.relative_to(packaged())
        if file.is_file() and file.suffix in (".json", ".txt"):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    (folder / "model.safetensors").symlink_to(weights())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": layers}))
    if marker:
        (folder / marker).write_text("")
    return folder


def run_settings(collection, root):
    settings = round_settings(collection, root=str(root), formats=["triplet"], retrieve={"dense": {"top_k": 20}}, recipe="top")
    settings["dataset"] |= {"document_partitions": 1, "query_partitions": 1}
    return settings


@pytest.fixture(scope="session")
def collection(tmp_path_factory):
    return write_collection(tmp_path_factory.mktemp("collection") / "beir")


@pytest.fixture(scope="session")
def mined(tmp_path_factory, collection):
    """A root with every stage of three checkpoints' rounds and no pointer. BAD's ranks contradict its scores: its gate fails."""
    folder = tmp_path_factory.mktemp("mined")
    context = Context(open_storage(str(folder / "root")), lambda: InlineExecutor(1), Silent())
    for layers in (GOOD, BETTER, BAD):
        base = MineSettings.model_validate(run_settings(collection, folder / "root"))
        model = base.model.model_copy(update={"path": str(save(folder / f"layers-{layers}", layers))})
        settings = base.model_copy(update={"model": model})
        if layers == BAD:
            dataset = prepare_dataset(context, settings)
            spoil(folder / "root", mine_candidates(context, settings, dataset, compose_recipes(settings, dataset)).table)
            with pytest.raises(GateError):
                mine_round(settings, context)
        else:
            mine_round(settings, context)
    for name in ("rounds", "latest", "datasets.json", "audit.json"):
        place = folder / "root/pointers" / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    shutil.rmtree(folder / "root/manifests/pointers")  # else a pointer that is gone were damage
    return folder / "root"


def spoil(root, table):
    """Turn the scores of a committed table round, as if they had been written so: its manifests, without seals, tell of the new files."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for part in table.parts:
        (file,) = part.files
        rows = pq.read_table(root / file.path)
        at = rows.column_names.index("dense_score")
        pq.write_table(rows.set_column(at, rows.schema.field(at), pc.negate(rows["dense_score"])), root / file.path)
        changed = {"bytes": (root / file.path).stat().st_size, "checksum": file_checksum(root / file.path)}
        for manifest in (root / "manifests/scored").rglob("*.json"):
            content = json.loads(unseal(manifest.read_bytes()))
            for one in [content, *content.get("parts", [])]:
                for entry in one.get("files", []):
                    if entry["path"] == file.path:
                        entry.update(changed)
            manifest.write_text(json.dumps(content))


@pytest.fixture
def root(mined, tmp_path):
    """A copy that a test may publish in."""
    return shutil.copytree(mined, tmp_path / "root")
