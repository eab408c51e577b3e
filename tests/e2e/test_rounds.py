"""Several rounds: mine, train, measure, mine with what was trained; through the command line."""

import json
import os
import random
import signal
import time

import pytest

from tests.e2e.conftest import round_settings

SPLITS = {"train": 0.6, "dev": 0.2, "test": 0.2}
TRAIN = {"batch_size": 8, "max_length": 64, "dtype": "float32", "save_every": 1}


def settings_of(collection, **more):
    settings = round_settings(collection, recipe="top", retrieve={"dense": {"top_k": 100}}, formats=["triplet"])
    settings["dataset"]["splits"] = SPLITS
    return {**settings, "rounds": 2, "train": TRAIN, **more}


def measured(outcome):
    return outcome["measured"]["measures"]["nDCG@10"]["mean"]


def ask(hardmine, query, *more):
    return json.loads(hardmine("sql", query, "--format", "json", *more)[0])


def pairs(outcome):
    """Pairs that the teacher was run on."""
    return sum(stage["model_calls"] for stage in outcome["mined"]["stages"] if stage["stage"] == "score")


def test_two_rounds(hardmine, collection):
    teacher = {"train": {"epochs": 1, "batch_size": 32, "max_length": 32, "folds": 0}, "depth": 10}
    file = hardmine.write(**settings_of(collection, teacher=teacher))
    result = hardmine.json("mine", file)
    first, second = result["rounds"]
    assert (first["mined"]["number"], second["mined"]["number"]) == (1, 2)
    models = [result["start"]["model"], *(one["trained"]["model"] for one in result["rounds"])]
    values = [result["start"]["measures"]["nDCG@10"]["mean"], measured(first), measured(second)]
    assert result["best"] == models[values.index(max(values))]
    assert result["stopped"] == ""
    stages = {stage["stage"]: stage for stage in second["mined"]["stages"]}
    assert "train-teacher" not in stages  # the first round's scores this one too
    assert 0 < pairs(second) <= 0.6 * pairs(first)
    lost = second["mined"]["staleness"]["earlier"][0]
    assert (lost["round"], lost["age"]) == (1, 1)
    assert lost["steps"] == first["trained"]["facts"]["steps"]
    assert 0 < lost["trained"]["loss_share"] < 1
    rows = ask(hardmine, "SELECT round, kind, steps FROM checkpoints ORDER BY created, round")
    assert sorted((row["round"], row["kind"]) for row in rows) == [(1, "retriever"), (1, "teacher"), (2, "retriever")]
    rows = ask(hardmine, "SELECT count(DISTINCT model) AS models FROM metrics WHERE split = 'dev'")
    assert rows == [{"models": 3}]
    rows = ask(hardmine, "SELECT from_round, under_round FROM staleness_by_round")
    assert {(row["from_round"], row["under_round"]) for row in rows} == {(1, 2)}
    again = hardmine.json("mine", file)
    assert [one["trained"]["cached"] for one in again["rounds"]] == [True, True]
    assert all(stage["cached"] for one in again["rounds"] for stage in one["mined"]["stages"])
    assert [one["mined"]["number"] for one in again["rounds"]] == [1, 2]
    assert again["best"] == result["best"]


def test_a_loop_that_gains_nothing_ends(hardmine, collection):
    file = hardmine.write(**settings_of(collection, rounds=5, stop={"patience": 1, "min_gain": 0.99}))
    result = hardmine.json("mine", file)
    assert len(result["rounds"]) == 1
    assert "no gain of more than 0.99 in nDCG@10 on dev" in result["stopped"]


@pytest.mark.slow
def test_a_loop_whose_negatives_stay_hard_ends_before_it_trains_on_them(hardmine, collection):
    train = {**TRAIN, "learning_rate": 1e-12}  # the checkpoint is another one, and ranks as before
    file = hardmine.write(**settings_of(collection, rounds=5, train=train, stop={"patience": 9, "staleness_floor": 0.2}))
    result = hardmine.json("mine", file)
    assert len(result["rounds"]) == 2
    assert result["rounds"][1]["trained"] is None
    assert "under the floor of 20 %" in result["stopped"]


def test_a_loop_without_queries_to_choose_by_is_refused_before_a_model_runs(hardmine, collection):
    settings = settings_of(collection)
    settings["dataset"]["splits"] = {"train": 1.0}
    _, err = hardmine("mine", hardmine.write(**{**settings, "evaluate": {"split": "test"}}), code=2)
    assert "choose by dev" in err
    _, err = hardmine("mine", hardmine.write(**settings), code=2)
    assert "split 'dev'" in err
    assert "dataset.splits" in err
    assert not list((hardmine.folder / "mining").glob("data/embed-*"))


@pytest.mark.slow  # the fast form kills a training alone: tests/finetune/test_resume.py
def test_killed_at_random_it_ends_with_the_same_checkpoints(hardmine, collection, tmp_path):
    """SIGKILL while it mines and trains; the last run ends with the bytes of an undisturbed one."""
    file = hardmine.write(**settings_of(collection))
    chance = random.Random(5)
    kills = 0
    while kills < 3:
        process = hardmine.start("mine", file)
        time.sleep(chance.uniform(6, 14))
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills
    result = hardmine.json("mine", file)
    straight = hardmine.json("mine", hardmine.write(**settings_of(collection, root=str(tmp_path / "straight"))))
    assert [one["trained"]["facts"]["steps"] for one in result["rounds"]] == [
        one["trained"]["facts"]["steps"] for one in straight["rounds"]
    ]
    assert fingerprints(hardmine, "./mining") == fingerprints(hardmine, str(tmp_path / "straight"))


def fingerprints(hardmine, root):
    rows = ask(hardmine, "SELECT round, model FROM checkpoints WHERE kind = 'retriever' ORDER BY round", "--root", root)
    return [(row["round"], row["model"]) for row in rows]
