"""Whether there is a reason to mine again, on a small round that is really mined."""

import shutil

from flows.deployed.occasion import stale_share, why_mine
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
