"""A training that is stopped goes on where it was, and ends with the same model."""

import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.errors import StorageError
from tasks.finetune.stage import STAGE, jobs
from tasks.models.materialise import materialise
from tasks.models.trainer import COMPLETE, last_checkpoint
from tasks.runner.runner import run_job

REASONS = ("max_score",)
STEPS = 30


class Stop(Exception):
    pass


def stop_after(steps):
    """A report that fails at a step."""
    left = [steps]

    def report(units):
        left[0] -= units
        if left[0] <= 0:
            raise Stop

    return report


def world(site, model, train):
    mined = site.mined(site.documents(), 12, lambda n: [(n + 1) % 12])
    (job,) = jobs(site.storage, mined, site.queries([None] * 12), model, train(epochs=10, save_every=4), REASONS)
    assert job.units == STEPS
    return job


def names(part):
    return [(file.name, file.checksum) for file in part.files]


@pytest.fixture(scope="module")
def whole(make_site, model, train):
    site = make_site()
    return run_job(site.storage.root, STAGE, world(site, model, train), lambda _: None)


def test_stopped_at_a_step(site, model, train, whole):
    job = world(site, model, train)
    for steps in (10, 17, 19):  # the second goes on from the checkpoint of step 8, the third from that of 16
        with pytest.raises(Stop):
            run_job(site.storage.root, STAGE, job, stop_after(steps))
    told = []
    done = run_job(site.storage.root, STAGE, job, told.append)
    assert (done.meta["resumed_from"], done.meta["steps"], sum(told)) == (16, STEPS, STEPS)
    assert names(done) == names(whole)
    assert done.meta["losses"] == whole.meta["losses"]


def test_stopped_while_the_model_is_written(make_site, model, train):
    """The next run goes on from the last step, so it tokenises nothing before it saves the tokenizer."""

    def start(site):
        mined = site.mined(site.documents(), 12, lambda n: [(n + 1) % 12])
        (job,) = jobs(site.storage, mined, site.queries([None] * 12), model, train(epochs=2, save_every=3), REASONS)
        assert job.units == 6
        return job

    site, other = make_site(), make_site()
    at_once = run_job(other.storage.root, STAGE, start(other), lambda _: None)
    job, blocked = start(site), Path(site.storage.root) / "data" / "train-retriever"
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("no folder can be made here")
    with pytest.raises(StorageError):
        run_job(site.storage.root, STAGE, job, lambda _: None)
    blocked.unlink()
    script = (  # in a process of its own, whose tokenizer is new
        "import pickle, sys; from tasks.runner.runner import run_job; from tasks.finetune.stage import STAGE;"
        "root, job = pickle.load(sys.stdin.buffer); print(run_job(root, STAGE, job, lambda n: None).meta['resumed_from'])"
    )
    ended = subprocess.run([sys.executable, "-c", script], input=pickle.dumps((site.storage.root, job)), capture_output=True, check=True)
    assert ended.stdout.split()[-1] == b"6"
    assert names(run_job(site.storage.root, STAGE, job, lambda _: None)) == names(at_once)


@pytest.mark.parametrize("loss", [{"kind": "negative_cache", "cache_size": 20, "top_k": 3}, {"kind": "noisy_pair_corrector"}])
def test_what_the_loss_keeps_goes_on_too(make_site, model, train, loss):
    """The cache with its generator, and the average with its flags: stopped after step 6 and gone on from that of 4, the same bytes."""

    def start(site):
        mined = site.mined(site.documents(), 12, lambda n: [(n + 1) % 12])
        (job,) = jobs(site.storage, mined, site.queries([None] * 12), model, train(epochs=4, save_every=4, loss=loss), REASONS)
        return job

    site, other = make_site(), make_site()
    at_once = run_job(other.storage.root, STAGE, start(other), lambda _: None)
    job = start(site)
    with pytest.raises(Stop):
        run_job(site.storage.root, STAGE, job, stop_after(6))
    done = run_job(site.storage.root, STAGE, job, lambda _: None)
    assert done.meta["resumed_from"] == 4
    assert names(done) == names(at_once)
    assert [done.meta.get(name) for name in ("losses", "cache")] == [at_once.meta.get(name) for name in ("losses", "cache")]


def test_killed(site, model, train, whole):
    from sentence_transformers import SentenceTransformer

    job = world(site, model, train)
    script = (
        "import pickle, sys; from tasks.runner.runner import run_job; from tasks.finetune.stage import STAGE;"
        "root, job = pickle.load(sys.stdin.buffer); run_job(root, STAGE, job, lambda n: print(n, flush=True))"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdin.write(pickle.dumps((site.storage.root, job)))
    child.stdin.close()
    for _ in range(7):  # 0 at the start, then one a step
        assert child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    assert child.wait(20) == -signal.SIGKILL
    done = run_job(site.storage.root, STAGE, job, lambda _: None)
    assert done.meta["steps"] == STEPS
    assert done.meta["resumed_from"] >= 4
    assert names(done) == names(whole)
    assert SentenceTransformer(str(materialise(site.storage, done)), device="cpu").encode(["where is tiger"]).shape == (1, 32)


def test_half_written_checkpoints_are_not_used(tmp_path):
    assert last_checkpoint(tmp_path) is None
    for step, whole in ((2, True), (10, False), (9, True)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if whole:
            (tmp_path / f"checkpoint-{step}" / COMPLETE).touch()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-9"
    assert not (tmp_path / "checkpoint-10").exists()
