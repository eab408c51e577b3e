"""A round of which nearly all is known: the few new texts and pairs are computed without Prefect and without a cluster."""

import gzip
import json
from pathlib import Path

import pytest

from flows.cache_only import FewOnly, Quiet
from flows.mine import mine, mine_round
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.runner.stage import NotCached
from tasks.store.storage import open_storage
from tests.e2e.conftest import cross_encoder, write_collection
from tests.flows.test_partial import settings

assert cross_encoder  # a fixture that is used below


def changed(folder, every):
    """A collection in which each so-manieth document has other words."""
    made = write_collection(folder)
    with gzip.open(made / "corpus.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    for row in rows[::every]:
        row["text"] += " with a few other words at its end"
    with gzip.open(made / "corpus.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return made


@pytest.fixture(scope="module")
def known(tmp_path_factory, cross_encoder):
    """Settings for any collection, over a root in which the unchanged one was mined."""
    folder = tmp_path_factory.mktemp("known")
    teacher = {"path": str(cross_encoder), "depth": 8, "max_length": 32, "dtype": "float32", "device": "cpu"}

    def made(collection, root="root"):
        return settings(folder / root, collection, teacher=teacher, recipe="nv-retriever", num_negatives=3)

    first = made(write_collection(folder / "beir"))
    mine_round(first, Context(open_storage(first.root), InlineExecutor, Quiet()))
    return made


def bytes_of(result):
    folders = result.selections[0].shards.values()
    return {path.name: path.read_bytes() for folder in folders for path in Path(folder).rglob("*.parquet")}


def test_few_changed_documents_need_no_cluster_and_come_out_as_by_one(known, tmp_path, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr("flows.server.prefect_api", lambda: pytest.fail("a Prefect server was asked for"))
    other = changed(tmp_path / "changed", 48)
    found = mine(known(other), Quiet())
    calls = {stage.stage: stage.model_calls for stage in found.stages}
    assert (found.round, calls["embed-documents"], calls["embed-queries"]) == ("small/2", 3, 0)
    assert 0 < calls["score"] < 60
    fresh = known(other, "fresh")
    whole = mine_round(fresh, Context(open_storage(fresh.root), InlineExecutor, Quiet()))
    assert {stage.stage: stage.model_calls for stage in whole.stages}["embed-documents"] == 144
    assert bytes_of(found) == bytes_of(whole) != {}


@pytest.mark.parametrize("every", [4, 1])
def test_many_changed_documents_are_for_a_cluster(known, tmp_path, every):
    given = known(changed(tmp_path / "changed", every))
    with pytest.raises(NotCached, match="of a model"):
        mine_round(given, Context(open_storage(given.root), FewOnly, Quiet()))


def test_a_training_is_for_a_cluster():
    from tasks.train.teacher import STAGE

    with pytest.raises(NotCached, match="train-teacher"):
        FewOnly().map("root", STAGE, [], lambda units: None)
