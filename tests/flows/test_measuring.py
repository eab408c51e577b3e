"""The section ``truth`` of run.yaml: what it is checked for, and what of it reaches which stage."""

import pytest

from flows.configuration import validate
from flows.measuring import Measuring, keep_truth, recorded_truth
from flows.settings import MineSettings
from tasks.errors import InputError, UsageError
from tasks.store.storage import open_storage
from tasks.store.tables import read_table

DATASET = {"name": "small", "format": "beir", "path": "."}


def settings(**given):
    return validate(MineSettings, {"dataset": DATASET, **given})


def test_batches_are_those_of_the_training_unless_they_are_given():
    assert (Measuring.of(settings(), None).batch_sizes, Measuring.of(settings(), None).batch_seed) == ((48,), 0)
    trained = Measuring.of(settings(train={"batch_size": 32, "seed": 7}), None)
    assert (trained.batch_sizes, trained.batch_seed) == ((32,), 7)
    assert Measuring.of(settings(train={"batch_size": 32}, truth={"batch_sizes": [64, 128]}), None).batch_sizes == (64, 128)


def test_the_section_is_checked():
    with pytest.raises(UsageError, match=r"truth\.calibration\.auc_flor: there is no setting 'auc_flor' here: .*auc_floor"):
        settings(truth={"calibration": {"auc_flor": 0.6}})
    with pytest.raises(UsageError, match="give qrels too"):
        settings(truth={"queries": "asked.txt"})
    with pytest.raises(UsageError, match=r"truth\.judged"):
        settings(truth={"qrels": "a.tsv", "judged": "none"})
    with pytest.raises(UsageError, match="greater than or equal to 2"):
        settings(truth={"batch_sizes": [1]})


def test_judgements_are_kept_by_content(tmp_path):
    """Relative to run.yaml; grades count from positive_min_grade; the same file gives the same part, whatever its name."""
    storage = open_storage(str(tmp_path / "root"))
    for name in ("a.tsv", "b.tsv"):
        (tmp_path / name).write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t2\nq3\td1\t0\n")
    (tmp_path / "asked.txt").write_text("q2\n")
    assert keep_truth(storage, settings()) is None and recorded_truth(settings().model_dump()) is None
    first, again, asked = (
        keep_truth(storage, settings(truth={"qrels": name, **more}).resolved(tmp_path))
        for name, more in (("a.tsv", {}), ("b.tsv", {}), ("a.tsv", {"queries": "asked.txt"}))
    )
    assert first == again and first.checksum != asked.checksum
    assert read_table(storage, asked.file("queries.parquet"))["query_id"].to_pylist() == ["q2"]
    assert read_table(storage, first.file("qrels.parquet")).num_rows == 3
    assert recorded_truth(Measuring.of(settings(), first).recorded) == first
    with pytest.raises(InputError, match="no pair has a grade of 3 or more"):
        strict = {**DATASET, "positive_min_grade": 3}
        keep_truth(storage, validate(MineSettings, {"dataset": strict, "truth": {"qrels": "a.tsv"}}).resolved(tmp_path))
