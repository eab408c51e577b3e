"""Whether there is a reason to mine again, on a small round that is really mined."""

import shutil

import pytest

from flows.deployed.occasion import stale_share, why_mine
from flows.mine import mine_round
from flows.settings import MineSettings
from tasks.audit.records import read_round
from tasks.models.location import packaged
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.storage import open_storage
from tests.e2e.conftest import round_settings, write_collection


class Silent:
    def start(self, stage, unit, total, done): ...
    def advance(self, stage, units): ...
    def finish(self, manifest, cached): ...


@pytest.fixture(scope="module")
def mined(tmp_path_factory):
    folder = tmp_path_factory.mktemp("occasion")
    collection = write_collection(folder / "beir")
    settings = MineSettings.model_validate(round_settings(collection, root=str(folder / "root"), formats=["triplet"]))
    storage = open_storage(settings.root)
    mine_round(settings, Context(storage, lambda: InlineExecutor(1), Silent()))
    return folder, storage, settings, read_round(storage, "small")


def test_nothing_changed_is_no_reason(mined):
    _, storage, settings, record = mined
    assert stale_share(storage, record) is None
    assert why_mine(storage, record, settings, 0.5, None) == []


def test_staleness_over_the_limit_is_one(mined):
    _, storage, settings, record = mined
    assert why_mine(storage, record, settings, 0.5, 0.5) == []
    (reason,) = why_mine(storage, record, settings, 0.5, 0.625)
    assert reason == "62 % of what the negatives taught is gone (limit 50 %)"


def test_a_checkpoint_counts_by_content_not_by_name(mined):
    folder, storage, settings, record = mined
    copy = folder / "checkpoint"
    if not copy.exists():
        shutil.copytree(packaged(), copy)
    same = settings.model_copy(update={"model": settings.model.model_copy(update={"path": str(copy)})})
    assert why_mine(storage, record, same, 1, None) == []
    (copy / "modules.json").write_text((copy / "modules.json").read_text() + "\n")
    (reason,) = why_mine(storage, record, same, 1, None)
    assert reason == f"a new checkpoint ({copy})"


def test_changed_files_are_one(mined):
    folder, storage, settings, record = mined
    qrels = folder / "beir" / "qrels" / "test.tsv"
    before = qrels.read_text()
    qrels.write_text(before + "q0\td0-2\t1\n")
    try:
        assert why_mine(storage, record, settings, 1, None) == ["the dataset's files or labels have changed"]
    finally:
        qrels.write_text(before)
