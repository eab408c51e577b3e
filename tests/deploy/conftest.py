"""A small round that is really mined."""

import shutil

import pytest

from flows.cache_only import Quiet
from flows.mine import mine_round
from flows.settings import MineSettings
from tasks.audit.records import read_round
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.storage import open_storage
from tests.e2e.conftest import round_settings, write_collection


@pytest.fixture(scope="module")
def mined(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mined")
    collection = write_collection(folder / "beir")
    settings = MineSettings.model_validate(round_settings(collection, root=str(folder / "root"), formats=["triplet"]))
    storage = open_storage(settings.root)
    mine_round(settings, Context(storage, lambda: InlineExecutor(1), Quiet()))
    return folder, storage, settings, read_round(storage, "small")


def copied(mined, folder):
    """A copy of the small round's root, and the settings of a run by another recipe there."""
    _, storage, settings, _ = mined
    shutil.copytree(storage.root, folder / "root")
    copy = open_storage(str(folder / "root"))
    return copy, settings.model_copy(update={"root": copy.root, "recipe": "top"})
