from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.audit.build import build_audit, latest_audit
from tasks.audit.checkpoints import (
    EvaluationRecord,
    TrainingRecord,
    models_measured,
    publish_evaluation,
    publish_training,
    read_evaluations,
    read_trainings,
)
from tasks.audit.records import StageRef
from tasks.sql import query_snapshot
from tasks.store.storage import open_storage
from tests.audit.world import new_world


def training(key, number=1):
    return TrainingRecord(
        dataset="toy",
        round=number,
        recipe="top",
        selection_id="s",
        train=StageRef(stage="train-retriever", key=key),
        base="b",
        model=f"m{key}",
        path=f"/models/{key}",
        facts={"steps": 7, "samples": 20, "seconds": 1.5},
    )


def evaluation(key, model, split="dev"):
    return EvaluationRecord(
        dataset="toy",
        round=1,
        model=model,
        path=f"/models/{model}",
        split=split,
        evaluate=StageRef(stage="evaluate", key=key),
        queries=9,
        measures={"nDCG@10": {"mean": 0.5, "low": 0.4, "high": 0.6}, "MRR@10": {"mean": 0.3, "low": 0.2, "high": 0.4}},
    )


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path / "root"))


def test_the_same_training_and_measurement_are_kept_once(storage):
    first = publish_training(storage, training("k"))
    assert first.created
    assert publish_training(storage, training("k")) == first
    assert [one.round for one in map(lambda number: publish_training(storage, training("k", number)), (1, 2))] == [1, 2]
    assert len(read_trainings(storage, "toy")) == 2
    measured = publish_evaluation(storage, evaluation("e", "m1"))
    assert publish_evaluation(storage, evaluation("e", "m1")) == measured
    assert read_evaluations(storage, "toy") == [measured]
    assert read_trainings(storage, "else") == []


def test_how_often_a_split_was_read(storage):
    for key, model, split in (("a", "m1", "test"), ("b", "m2", "test"), ("c", "m2", "Test"), ("d", "m3", "dev")):
        publish_evaluation(storage, evaluation(key, model, split))
    assert [models_measured(storage, "toy", split) for split in ("test", "dev", "calibration")] == [("m1", "m2"), ("m3",), ()]


def test_before_the_first_round_the_snapshot_has_them_with_how_often_a_split_was_read(storage):
    """Reads of test by m1, m2, m1 again and m3: the first, the second, still the second, the third model."""
    publish_training(storage, training("k", 0).model_copy(update={"kind": "teacher"}))
    for key, model in (("a", "m1"), ("b", "m2"), ("c", "m1"), ("d", "m3")):
        publish_evaluation(storage, evaluation(key, model, "test").model_copy(update={"kind": "teacher", "round": 0}))
    publish_evaluation(storage, evaluation("e", "m1"))
    build_audit(storage)
    rows = query_snapshot(
        latest_audit(storage), "SELECT split, kind, round, model, read FROM metrics WHERE measure = 'MRR@10' ORDER BY split, created, read"
    )
    assert [tuple(row.values()) for row in rows.to_pylist() if row["split"] == "dev"] == [("dev", "retriever", 1, "m1", 1)]
    found = sorted((row["model"], row["read"]) for row in rows.to_pylist() if row["split"] == "test")
    assert found == [("m1", 1), ("m1", 2), ("m2", 2), ("m3", 3)]
    assert query_snapshot(latest_audit(storage), "SELECT kind, round FROM checkpoints").to_pylist() == [{"kind": "teacher", "round": 0}]


def test_trainers_at_once_lose_nothing(storage):
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda number: publish_training(storage, training(str(number))), range(6)))
    assert sorted(one.train.key for one in read_trainings(storage, "toy")) == list("012345")


def test_the_snapshot_shows_them(tmp_path):
    world = new_world(tmp_path)
    world.both()
    build_audit(world.storage)
    publish_training(world.storage, training("k"))
    publish_evaluation(world.storage, evaluation("e", "mk"))
    build_audit(world.storage)
    joined = query_snapshot(
        latest_audit(world.storage),
        "SELECT recipe, steps, seconds, measure, value, low, high FROM checkpoints JOIN metrics USING (dataset, model) ORDER BY measure",
    )
    assert [tuple(row.values()) for row in joined.to_pylist()] == [
        ("top", 7, 1.5, "MRR@10", 0.3, 0.2, 0.4),
        ("top", 7, 1.5, "nDCG@10", 0.5, 0.4, 0.6),
    ]
    comments = query_snapshot(
        latest_audit(world.storage),
        "SELECT count(*) AS without FROM duckdb_columns() WHERE table_name IN ('checkpoints', 'metrics') AND coalesce(comment, '') = ''",
    )
    assert comments.to_pylist() == [{"without": 0}]
