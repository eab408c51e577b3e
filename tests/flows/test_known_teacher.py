"""A teacher that was trained here, given back by its path, is not calibrated on what it was trained on."""

from flows.known_teacher import unseen
from flows.mine import mine_round
from flows.stored import find_round, stored_stage
from tasks.audit.checkpoints import TrainingRecord, publish_training
from tasks.audit.records import StageRef
from tasks.models.fingerprint import part_digest
from tasks.models.materialise import materialise
from tasks.store.manifest import Part, StageManifest, commit_stage
from tasks.store.output import Output
from tasks.store.storage import open_storage
from tests.finetune.conftest import body
from tests.flows.test_rounds import collection, here, settings

assert body and collection and settings  # fixtures that are used below


def record(storage, key, **facts):
    train = StageRef(stage="train-teacher", key=key)
    publish_training(
        storage, TrainingRecord(dataset="toy", round=1, kind="teacher", train=train, base="b", model=key, path="", facts=facts)
    )


def kept(*weights, holdout=0.1, seed=3):
    return {"weights": list(weights), "holdout": holdout, "seed": seed}


def test_a_teacher_is_looked_up_by_its_fingerprint(tmp_path):
    storage = open_storage(str(tmp_path))
    record(storage, "one", held_out=kept("w1"))
    record(storage, "two", held_out=kept("w2", "w3"))
    assert (unseen(storage, "toy", "w0").held_out, unseen(storage, "toy", "w0").note) == ("all", "")
    assert unseen(storage, "other", "w1").held_out == "all"
    alone = unseen(storage, "toy", "w1")
    assert alone.held_out == {"holdout": 0.1, "seed": 3} and "10% of the query groups that it held out" in alone.note
    fold = unseen(storage, "toy", "w3")
    assert fold.held_out["holdout"] == 0 and "each fold's teacher knows most queries" in fold.note
    # the same weights from two trainings that held out different groups: neither is known to be unseen
    record(storage, "again", held_out=kept("w1", seed=4))
    assert unseen(storage, "toy", "w1").held_out["holdout"] == 0


def test_a_training_from_before_this_was_kept(tmp_path):
    storage = open_storage(str(tmp_path))
    out = Output(storage, "data/train-teacher/old")
    out.data("model/config.json", b"{}")
    part = Part(stage="train-teacher", key="old", index="teacher", files=tuple(out.files))
    commit_stage(storage, StageManifest(stage=part.stage, version=2, key="old", settings={}, parts=(part,), counters={}, seconds=0.0))
    record(storage, "old")
    found = unseen(storage, "toy", part_digest(part))
    assert found.held_out == {"holdout": 0.0, "seed": 0} and "what it held out is not recorded" in found.note


def test_a_round_with_its_own_teacher_given_back(settings, body, tmp_path):
    """Trained with a third held out; given back by its folder, the calibration is the same one, not one on all queries."""
    context = here(tmp_path)
    plain = {"max_length": 24, "dtype": "float32", "device": "cpu", "depth": 8}
    train = {"body": body, "epochs": 1, "max_length": 24, "folds": 0, "holdout": 0.4, "dtype": "float32"}
    given = {"rounds": 1, "train": None, "truth": {"calibration": {"min_positives": 2}}}
    first = mine_round(settings(tmp_path, **given, teacher={"train": train, **plain}), context)
    trained = find_round(context.storage, first.round)
    (part,) = stored_stage(context.storage, trained.stage("train-teacher")).parts
    folder = materialise(context.storage, part)
    again = mine_round(settings(tmp_path, **given, teacher={"path": str(folder), **plain}), context)
    assert any("calibrated on the 40% of the query groups that it held out" in note for note in again.notes)
    assert not any("held out" in note for note in first.notes)
    metas = [
        stored_stage(context.storage, find_round(context.storage, one.round).roles["calibrate"]).parts[0].meta for one in (first, again)
    ]
    assert metas[0] == metas[1] and metas[0]["pairs"] > 0
