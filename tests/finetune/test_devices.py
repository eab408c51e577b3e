"""A training that several processes share: on a CPU they stand for GPUs."""

import numpy as np
import psutil
import pytest
from pydantic import ValidationError
from safetensors.numpy import load_file

from tasks.errors import ModelError
from tasks.finetune.stage import STAGE, jobs
from tasks.models.devices import run_on
from tasks.models.materialise import materialise
from tasks.runner.runner import run_job
from tests.finetune.test_resume import REASONS, Stop, stop_after

GATHERED = {"kind": "masked_multiple_negatives_ranking", "gather_across_devices": True}


def job_of(site, model, train, **more):
    mined = site.mined(site.documents(), 12, lambda n: [(n + 1) % 12], rejected=[(0, 5), (3, 7)])
    (job,) = jobs(site.storage, mined, site.queries([None] * 12), model, train(**more), REASONS)
    return job


def weights(site, part):
    return load_file(materialise(site.storage, part) / "model.safetensors")


def test_two_devices_train_as_one(make_site, model, train):
    """With gathered documents each step is that of all its rows on one device: the same losses and weights, but for rounding."""
    site, other = make_site(), make_site()
    alone = run_job(site.storage.root, STAGE, job_of(site, model, train, epochs=3, loss=GATHERED), lambda _: None)
    told = []
    job = job_of(other, model, train, epochs=3, loss=GATHERED, devices=2, mini_batch_size=1)
    both = run_job(other.storage.root, STAGE, job, told.append)
    assert (both.meta["steps"], sum(told), both.meta["resumed_from"]) == (9, 9, 0)
    assert [loss for _, loss in both.meta["losses"]] == pytest.approx([loss for _, loss in alone.meta["losses"]], rel=1e-3)
    first, second = weights(site, alone), weights(other, both)
    moved = load_file(f"{model.path}/model.safetensors")
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert np.abs(value - second[name]).max() < 2e-3
    name = "encoder.layer.0.attention.self.query.weight"
    assert np.abs(first[name] - second[name]).max() < 0.1 * np.abs(first[name] - moved[name]).max()


@pytest.mark.slow
def test_stopped_it_leaves_no_process_and_goes_on(make_site, model, train):
    site, other = make_site(), make_site()
    settings = {"epochs": 4, "save_every": 4, "loss": GATHERED, "devices": 2}
    at_once = run_job(other.storage.root, STAGE, job_of(other, model, train, **settings), lambda _: None)
    job = job_of(site, model, train, **settings)
    with pytest.raises(Stop):
        run_job(site.storage.root, STAGE, job, stop_after(6))
    assert not [child for child in psutil.Process().children() if "tasks.models.devices" in " ".join(child.cmdline())]
    done = run_job(site.storage.root, STAGE, job, lambda _: None)
    assert (done.meta["steps"], done.meta["resumed_from"]) == (12, 4)
    assert [(file.name, file.checksum) for file in done.files] == [(file.name, file.checksum) for file in at_once.files]


class NoNumber:
    """Where it is read, it fails: as ``int("no number")``."""

    def __reduce__(self):
        return int, ("no number",)


def test_a_process_that_fails_says_why():
    with pytest.raises(ModelError, match="a process of the training ended: ") as refused:
        run_on(2, {"folder": NoNumber()}, lambda _: None)
    assert "invalid literal for int() with base 10: 'no number'" in refused.value.message


def test_wrong_use(train):
    with pytest.raises(ValidationError, match="loss margin_mse trains on one device"):
        train(devices=2, loss={"kind": "margin_mse"})
    with pytest.raises(ValidationError, match="4 rows a step cannot be shared out to 3 devices"):
        train(devices=3)
