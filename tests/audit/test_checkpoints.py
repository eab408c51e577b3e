from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from flows.checks import check_test_unread
from flows.keeping.gc import Limits, collect
from flows.keeping.retire import retire
from flows.keeping.verify import verify
from tasks.audit.best import Best, keep_best, read_best
from tasks.audit.build import build_audit, latest_audit
from tasks.audit.checkpoints import (
    EvaluationRecord,
    ReadingRecord,
    TrainingRecord,
    checkpoint_manifests,
    models_measured,
    publish_evaluation,
    publish_reading,
    publish_training,
    read_evaluations,
    read_trainings,
    rebuild_checkpoints,
    split_readers,
)
from tasks.audit.records import RoundRecord, StageRef, publish_round
from tasks.errors import UsageError
from tasks.evaluate.settings import EvaluateSettings
from tasks.evaluate.stage import SLICES
from tasks.sql import query_snapshot
from tasks.store.output import Output
from tasks.store.seal import Damaged
from tasks.store.storage import open_storage
from tests.audit.world import new_world, stage


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


def published(number, model="packaged"):
    """A round without stages, mined with a model."""
    content = {"candidate_set_id": f"c{number}", "selection_id": "s", "created": "", "selections": (), "stages": ()}
    return RoundRecord(dataset="toy", settings={"model": {"path": model}}, **content)


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


def test_what_was_read_stays_known_when_its_models_are_retired(storage):
    """m1 and m2 are measured on test, m1 by fuller judgements too; m1 is retired, m3 is the third model."""
    publish_training(storage, training("1").model_copy(update={"path": "root:1"}))
    publish_training(storage, training("2").model_copy(update={"base": "m1", "path": "root:2"}))
    for key, model in (("a", "m1"), ("b", "m1"), ("c", "m2")):
        publish_evaluation(storage, evaluation(key, model, "Test").model_copy(update={"path": f"root:{model}", "qrels": key}))
    publish_evaluation(storage, evaluation("d", "m1"))
    assert models_measured(storage, "toy", "test") == ("m1", "m2")
    publish_round(storage, published(1))
    publish_round(storage, published(2, "root:2"))  # mined with m2
    (gone,) = retire(storage, keep=1, apply=True)
    assert (gone.rounds, gone.checkpoints) == ((1,), 1)
    assert [one.model for one in read_trainings(storage, "toy")] == ["m2"]  # which began with m1
    assert [one.model for one in read_evaluations(storage, "toy")] == ["m2"]
    assert (models_measured(storage, "toy", "test"), models_measured(storage, "toy", "dev")) == (("m1", "m2"), ("m1",))
    with pytest.raises(UsageError, match=r"read before, 2 time\(s\): m1, m2"):
        check_test_unread(storage, "toy", EvaluateSettings(split="test"), "m3")
    publish_evaluation(storage, evaluation("e", "m3", "test"))
    build_audit(storage)
    rows = query_snapshot(latest_audit(storage), "SELECT model, read FROM metrics WHERE measure = 'MRR@10' ORDER BY model")
    assert [tuple(row.values()) for row in rows.to_pylist()] == [("m2", 2), ("m3", 3)]


def test_a_comparison_by_the_truth_of_test_is_a_reading(storage):
    """m1, then recipes of round 1 twice, then m2; the pointer made anew has them too."""
    publish_evaluation(storage, evaluation("a", "m1", "test"))
    first = publish_reading(storage, ReadingRecord(dataset="toy", round=1, split="test"))
    assert publish_reading(storage, ReadingRecord(dataset="toy", round=1, split="test")) == first
    assert split_readers(storage, "toy", "Test") == ("m1", "recipes of toy/1")
    assert split_readers(storage, "toy", "dev") == ()
    with pytest.raises(UsageError, match=r"read before, 1 time\(s\): recipes of toy/1"):
        check_test_unread(storage, "toy", EvaluateSettings(split="test"), "m1")
    check_test_unread(storage, "toy", EvaluateSettings(split="dev"), "m1")
    publish_evaluation(storage, evaluation("b", "m2", "test"))
    storage.remove("pointers/checkpoints/toy.json")
    rebuild_checkpoints(storage, "toy")
    assert sorted(split_readers(storage, "toy", "test")) == ["m1", "m2", "recipes of toy/1"]
    build_audit(storage)
    rows = query_snapshot(latest_audit(storage), "SELECT max(read) AS read FROM metrics WHERE split = 'test'")
    assert rows.to_pylist() == [{"read": 3}]


def test_what_was_read_keeps_no_file_of_a_retired_model(storage):
    model = 16 * "ab"
    publish_training(storage, training("1").model_copy(update={"model": model, "path": "root:1"}))
    publish_evaluation(storage, evaluation("a", model, "test").model_copy(update={"path": "root:1"}))
    Output(storage, f"data/embeddings/{model}").table("v.parquet", pa.table({"x": [1]}))
    for number in (1, 2):
        publish_round(storage, published(number))
    assert "data/embeddings" not in collect(storage, Limits(older_than=-1)).by_kind
    done = collect(storage, Limits(older_than=-1, keep_rounds=1), apply=True)
    assert "data/embeddings" in done.by_kind
    assert models_measured(storage, "toy", "test") == (model,)


def test_the_best_checkpoint_is_not_retired(storage):
    for number in (1, 2, 3):
        publish_training(storage, training(str(number), number).model_copy(update={"path": f"root:{number}"}))
        publish_round(storage, published(number))
    keep_best(storage, Best(dataset="toy", round=2, path="root:2", model="m2", measure="nDCG@10", split="dev", value=0.5, trained=3))
    (gone,) = retire(storage, keep=1, apply=True)
    assert (gone.rounds, gone.checkpoints) == ((1, 2), 1)
    assert [one.model for one in read_trainings(storage, "toy")] == ["m2", "m3"]
    assert read_best(storage, "toy").path == "root:2"


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


@pytest.mark.parametrize("damage", ["damaged", "missing"])
def test_a_record_that_is_lost_is_let_go_and_the_same_training_writes_it_anew(storage, damage):
    for key in "ab":
        publish_training(storage, training(key))
    name = checkpoint_manifests(storage, "toy")[0]
    data = storage.read_bytes(name)
    storage.remove(name)
    if damage == "damaged":
        storage.put_bytes(name, data.replace(b'"steps": 7', b'"steps": 9'))
    with pytest.raises(Damaged, match=rf"{name} is {damage}") as error:
        read_trainings(storage, "toy")
    assert "hardmine verify --mend" in error.value.mend
    faults = {fault.name: fault for fault in verify(storage, mend=True).faults}
    assert faults[name].kind == damage
    assert "the same training or evaluation, run again, writes it anew" in faults[name].mend
    assert {fault.name for fault in verify(storage).faults} == {"manifests/train-retriever/b.json"}, "its stage was never computed here"
    assert [one.train.key for one in read_trainings(storage, "toy")] == ["b"]
    publish_training(storage, training("a"))
    assert [one.train.key for one in read_trainings(storage, "toy")] == ["b", "a"]


@pytest.mark.fault("trainers at once", "threads that publish checkpoints")
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
        "SELECT count(*) AS without FROM duckdb_columns() "
        "WHERE table_name IN ('checkpoints', 'metrics', 'metric_slices') AND coalesce(comment, '') = ''",
    )
    assert comments.to_pylist() == [{"without": 0}]


def test_slices_of_the_measures_are_a_table(tmp_path):
    """As the evaluation wrote them; one whose files are gone has none."""
    world = new_world(tmp_path)
    world.both()
    facts = {"measure": "MRR@10", "low": 0.0, "high": 1.0}
    rows = [
        {"slice": "all", "value_of_slice": "", "mean": 0.5, "queries": 40, "small": False, **facts},
        {"slice": "positives", "value_of_slice": "1", "mean": 0.25, "queries": 9, "small": True, **facts},
    ]
    stage(world.storage, "evaluate", "e", {"slices.parquet": pa.Table.from_pylist(rows, schema=SLICES)})
    publish_evaluation(world.storage, evaluation("e", "mk"))
    publish_evaluation(world.storage, evaluation("gone", "other"))
    build_audit(world.storage)
    named = "dataset, round, kind, model, split, slice, value_of_slice, measure, value, queries, small"
    table = query_snapshot(latest_audit(world.storage), f"SELECT {named} FROM metric_slices ORDER BY queries")
    found = [tuple(row.values()) for row in table.to_pylist()]
    about = ("toy", 1, "retriever", "mk", "dev")
    assert found == [(*about, "positives", "1", "MRR@10", 0.25, 9, True), (*about, "all", "", "MRR@10", 0.5, 40, False)]
