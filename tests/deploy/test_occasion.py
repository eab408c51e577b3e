"""Whether there is a reason to mine again, on a small round that is really mined."""

import shutil
from pathlib import Path

from flows.deployed.occasion import next_settings, stale_share, why_mine
from tasks.models.location import packaged


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


def test_a_checkpoint_that_is_overwritten_in_place_takes_the_next_chunk(mined, tmp_path):
    _, storage, settings, record = mined
    latest = tmp_path / "latest"
    shutil.copytree(packaged(), latest)
    model = {**record.settings["model"], "path": str(latest)}
    chunked = record.model_copy(update={"settings": {**record.settings, "model": model, "query_chunks": 3, "query_chunk": 2}})
    where = {"root": settings.root, "cluster": "local", "workers": None}
    for retriever in ("", str(latest)):
        assert next_settings(storage, chunked, retriever, where).query_chunk == 2  # what the round was mined with
    moved = next_settings(storage, chunked, str(packaged()), where)
    assert (Path(moved.model.path), moved.query_chunk) == (packaged(), 2)  # the same elsewhere
    (latest / "modules.json").write_text((latest / "modules.json").read_text() + "\n")
    for retriever in ("", str(latest)):
        found = next_settings(storage, chunked, retriever, where)
        assert (found.model.path, found.query_chunk) == (str(latest), 0)  # 2 was the last of three
        assert why_mine(storage, chunked, found, 1, None) == [f"a new checkpoint ({latest})"]
