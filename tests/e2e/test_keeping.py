"""Clearing a root: what is published stays whole, what nothing needs goes."""

import json
import os
import threading
import time

import pytest

from flows.cache_only import Quiet
from flows.keeping.gc import Limits, collect
from flows.keeping.verify import verify
from flows.mine import mine_round
from flows.settings import MineSettings
from tasks.audit.records import list_rounds
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.lease import at_work
from tasks.store.storage import open_storage
from tests.e2e.conftest import round_settings, shard_bytes


def files(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and "leases" not in path.parts}


def age(root, days):
    """Make all files look older."""
    for path in root.rglob("*"):
        if path.is_file():
            when = path.stat().st_mtime - days * 86_400
            os.utime(path, (when, when))


def gc(hardmine, *options):
    return hardmine.json("gc", *options)


@pytest.mark.fault("gc of what nothing needs", "two rounds, a pin, rests of a killed run, a person's own file; then each recipe again")
def test_what_is_published_stays_and_the_rest_goes_when_it_is_old(hardmine, collection):
    one = hardmine.write("one.yaml", **round_settings(collection))
    two = hardmine.write("two.yaml", **round_settings(collection, retrieve={"dense": {"top_k": 140}, "bm25": {"top_k": 20}}))
    first, root = hardmine.json("mine", one), hardmine.folder / "mining"
    published = files(root)
    expected = {name: shard_bytes(folder) for name, folder in first["selections"][0]["shards"].items()}
    hardmine.json("mine", two)
    (root / "data/score/0123456789abcdef0123456789abcdef").mkdir(parents=True)
    (root / "data/score/0123456789abcdef0123456789abcdef/pairs.parquet").write_bytes(b"of a run that was killed")

    (root / "notes.txt").write_text("a person's own file")

    assert gc(hardmine, "--older-than", "1")["files"] == 0, "all is younger than a day"
    age(root, 8)
    before = files(root)
    dry = gc(hardmine)
    assert "data/score" in dry["by_kind"]
    assert files(root) == before
    done = gc(hardmine, "--apply")
    assert (done["files"], done["bytes"], done["by_kind"]) == (dry["files"], dry["bytes"], dry["by_kind"])
    assert len(files(root)) == len(before) - done["files"] == done["left"] + 1
    assert (root / "notes.txt").exists()
    hardmine("verify")
    for run in (one, two):
        assert [stage["stage"] for stage in hardmine.json("mine", run)["stages"] if not stage["cached"]] == []

    # one round stays, and a pinned one
    hardmine("pin", "small/1")
    assert gc(hardmine, "--keep-rounds", "1")["retired"] == []
    hardmine("pin", "small/1", "--off")
    age(root, 8)
    retired = gc(hardmine, "--keep-rounds", "1", "--apply")
    assert [(each["dataset"], each["rounds"]) for each in retired["retired"]] == [("small", [1])]
    assert "small/2" in hardmine("rounds")[0]
    assert "small/1" not in hardmine("rounds")[0]
    hardmine("verify")
    assert json.loads(hardmine("sql", "SELECT DISTINCT round FROM decisions", "--format", "json")[0]) == [{"round": 2}]
    assert len(files(root) & published) < len(published)
    again = hardmine.json("mine", one)
    assert again["round"] == "small/3"
    assert {name: shard_bytes(folder) for name, folder in again["selections"][0]["shards"].items()} == expected


@pytest.mark.fault("gc by size", "two old files, one of which is enough; a run at work")
def test_the_oldest_go_until_the_root_is_small_enough_and_files_wait_for_runs(hardmine, collection):
    hardmine.json("mine", hardmine.write(**round_settings(collection)))
    root = hardmine.folder / "mining"
    age(root, 8)
    for days, name in ((30, "old"), (20, "newer")):
        path = root / "data/score" / f"0123456789abcdef{days:016}" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(100_000))
        os.utime(path, (time.time() - days * 86_400,) * 2)
    total = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and "leases" not in path.parts)
    with at_work(open_storage(str(root)), "mine"):
        waiting = gc(hardmine, "--apply", "--max-gb", str((total - 50_000) / 1e9))
        assert waiting["waits_for"][0].startswith("mine: process")
        assert not waiting["applied"]
        assert len(list(root.glob("data/score/*/old"))) == 1, "nothing was removed"
    gone = gc(hardmine, "--apply", "--max-gb", str((total - 50_000) / 1e9))
    assert gone["waits_for"] == []
    assert [path.name for path in root.glob("data/score/*/*")] == ["newer"]


@pytest.mark.fault("gc beside a running round", "`gc --apply --older-than 0` again and again while a round is mined on the same root")
def test_gc_beside_a_running_round_takes_nothing_from_it(tmp_path, collection):
    storage = open_storage(str(tmp_path / "root"))

    def mine(**changes):
        settings = MineSettings.model_validate(round_settings(collection, root=storage.root, formats=["triplet"], **changes))
        with at_work(storage, "mine"):
            mine_round(settings, Context(storage, lambda: InlineExecutor(1), Quiet()))

    mine()
    run = threading.Thread(target=mine, kwargs={"retrieve": {"dense": {"top_k": 120}, "bm25": {"top_k": 20}}})
    run.start()
    waited = 0
    while run.is_alive():
        found = collect(storage, Limits(older_than=0), apply=True)
        waited += bool(found.waits_for)
        assert not (found.waits_for and found.applied)
    run.join()
    assert waited > 3
    assert len(list_rounds(storage)) == 2
    assert verify(storage).faults == ()
    collect(storage, Limits(older_than=0), apply=True)
    assert verify(storage).faults == (), "what is published stays"
