"""The watcher as a process of its own, fed by a trainer's hand."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import fsspec
import pytest
import yaml

from flows.settings import MineSettings
from flows.watch import Watcher
from tasks.audit.latest import read_latest
from tasks.errors import UsageError
from tasks.store.storage import open_storage
from tasks.watch.alone import only_watcher
from tasks.watch.places import open_place
from tasks.watch.settings import WatchSettings
from tests.e2e.conftest import ROOT
from tests.watch.conftest import BAD, BETTER, GOOD, OTHER, Silent, run_settings, save, weights


class Process:
    """``hardmine watch … --json`` and the events that it has told."""

    def __init__(self, folder, *arguments):
        environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
        own = {"PREFECT_HOME": str(folder / "prefect"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
        self.events, self.told, self.err = [], 0, folder / "err"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "watch", "run.yaml", "run", *arguments, "--json"],
            cwd=folder,
            env={**environment, **own},
            stdout=subprocess.PIPE,
            stderr=self.err.open("w"),
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def until(self, event, text="", timeout=120):
        """The next event of a kind whose message holds a text."""
        end = time.monotonic() + timeout
        while True:
            over = self.process.poll() is not None
            if over:
                self.reader.join(10)
            for at in range(self.told, len(self.events)):
                if self.events[at]["event"] == event and text in self.events[at]["message"]:
                    self.told = at + 1
                    return self.events[at]
            if over or time.monotonic() > end:
                pytest.fail(f"no {event} {text!r} among {self.events}\n{self.err.read_text()}")
            time.sleep(0.02)

    def kinds(self, *kinds):
        return [(event["event"], event.get("checkpoint")) for event in self.events if event["event"] in kinds]

    def end(self, number):
        os.killpg(self.process.pid, number)
        code = self.process.wait(30)
        self.reader.join(10)
        return code


def test_from_an_empty_folder_to_ctrl_c(tmp_path, root, collection):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run_settings(collection, root)))
    run, aside = tmp_path / "run", tmp_path / "aside"
    pointer = root / "pointers/latest/small.json"
    watcher = Process(tmp_path, "--poll", "0.2", "--stable-for", "3600")
    try:
        watcher.until("waiting", "a new checkpoint")

        # half-written: the configuration, then a part of the weights; no marker
        save(aside / "one", GOOD)
        run.mkdir()
        (run / "checkpoint-1").mkdir()
        shutil.copy(aside / "one/config.json", run / "checkpoint-1")
        watcher.until("waiting", "checkpoint-1 (lacks its weights)")
        (run / "checkpoint-1/model.safetensors").write_bytes(weights().read_bytes()[:1_000_000])
        watcher.until("waiting", "checkpoint-1 (lacks 3600 s without a change)")
        time.sleep(1)
        assert watcher.kinds("started", "refused", "failed") == []
        assert not pointer.exists()

        # complete: mined, and the pointer is there when it is told
        (run / "checkpoint-1/model.safetensors").unlink()
        save(run / "checkpoint-1", GOOD)
        told = watcher.until("mined")
        assert (told["checkpoint"], told["round"], told["latest"]) == ("checkpoint-1", "small/1", 1)
        assert json.loads(pointer.read_text())["checkpoint"]["path"] == str(run / "checkpoint-1")
        assert json.loads((root / "leases/watch/small.json").read_text())["until"] > time.time()

        # the same content under another name
        save(aside / "again", GOOD)
        (aside / "again").rename(run / "checkpoint-2")
        assert "checkpoint-2 is the same model as checkpoint-1" in watcher.until("skipped")["message"]

        # broken ones, and one that fails its gate: each is told once, and the pointer stays
        before = pointer.read_bytes()
        for name, spoil in (("checkpoint-3", cut), ("checkpoint-4", pickled), ("checkpoint-5", nothing)):
            spoil(save(aside / name, BAD, marker=None))
            (aside / name / "_SUCCESS").write_text("")
            (aside / name).rename(run / name)
            kind, text = {cut: ("refused", "its header says"), pickled: ("refused", "pickle"), nothing: ("failed", "release gate")}[spoil]
            assert watcher.until(kind, text)["checkpoint"] == name
        assert pointer.read_bytes() == before

        # two at once: the newest only
        for name, layers in (("checkpoint-6", OTHER), ("checkpoint-7", BETTER)):
            save(aside / name, layers)
        (aside / "checkpoint-7").rename(run / "checkpoint-7")
        (aside / "checkpoint-6").rename(run / "checkpoint-6")
        assert watcher.until("mined")["round"] == "small/2"
        assert json.loads(pointer.read_text())["round"] == 2
        watcher.until("waiting", "a new checkpoint")
        time.sleep(0.5)
        assert watcher.kinds("started") == [("started", f"checkpoint-{number}") for number in (1, 5, 7)]
        assert watcher.kinds("refused", "failed") == [("refused", "checkpoint-3"), ("refused", "checkpoint-4"), ("failed", "checkpoint-5")]
        assert ("skipped", "checkpoint-6") in watcher.kinds("skipped")
    finally:
        code = watcher.end(signal.SIGINT)
    assert code == 130
    err = watcher.err.read_text()
    assert "stopped" in err
    assert "Traceback" not in err
    assert not (root / "leases/watch/small.json").exists()


def cut(folder):
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes(weights[:-1000])


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def nothing(folder): ...


class Told(list):
    """A listener that keeps what it is told."""

    def tell(self, event):
        self.append((event.event, event.checkpoint))

    def unexpected(self, error):
        raise error


def look_once(root, collection, place, **options):
    settings = MineSettings.model_validate(run_settings(collection, root))
    told = Told()
    good = Watcher(settings, place, WatchSettings(**options), told, Silent).run(once=True)
    return good, told


def test_a_restart_knows_what_was_mined_and_takes_nothing_older(tmp_path, root, collection):
    place = open_place(str(tmp_path / "run"), str(root))
    save(tmp_path / "run/old", OTHER)
    save(tmp_path / "run/new", GOOD)
    assert look_once(root, collection, place) == (True, [("skipped", "old"), ("started", "new"), ("mined", "new")])
    assert look_once(root, collection, place) == (True, [("skipped", "old"), ("waiting", None)])
    (tmp_path / "run/new").rename(tmp_path / "run/renamed")
    assert look_once(root, collection, place) == (True, [("skipped", "renamed"), ("skipped", "old"), ("waiting", None)])
    shutil.rmtree(tmp_path / "run/renamed")  # as a trainer does that keeps its best: the older one is not mined then either
    assert look_once(root, collection, place) == (True, [("skipped", "old"), ("waiting", None)])
    save(tmp_path / "run/later", BAD)
    assert look_once(root, collection, place)[0] is False
    assert read_latest(open_storage(str(root)), "small")["round"] == 1


def test_by_step_and_by_the_files_own_times(tmp_path, root, collection):
    place = open_place(str(tmp_path / "run"), str(root))
    save(tmp_path / "run/checkpoint-20", GOOD, marker=None)
    save(tmp_path / "run/checkpoint-10", OTHER, marker=None)
    assert look_once(root, collection, place)[1] == [("waiting", None)]
    time.sleep(1)
    told = look_once(root, collection, place, stable_for=1, newest_by="step", marker="none")[1]
    assert told == [("skipped", "checkpoint-10"), ("started", "checkpoint-20"), ("mined", "checkpoint-20")]


def test_a_second_watcher_is_refused(tmp_path, root, collection):
    with only_watcher(open_storage(str(root)), "small"), pytest.raises(UsageError, match="another watcher"):
        look_once(root, collection, open_place(str(tmp_path / "run"), str(root)))


def test_checkpoints_on_s3(s3_root, tmp_path, root, collection):
    fs, base = fsspec.core.url_to_fs(f"{s3_root}/run")

    def upload(name, layers):
        for file in sorted(save(tmp_path / name, layers).rglob("*"), key=lambda file: file.name == "_SUCCESS"):
            if file.is_file():
                fs.put_file(str(file), f"{base}/{name}/{file.relative_to(tmp_path / name).as_posix()}")

    place = open_place(f"{s3_root}/run", str(root))
    assert look_once(root, collection, place)[1] == [("waiting", None)]
    upload("checkpoint-1", GOOD)
    assert look_once(root, collection, place) == (True, [("started", "checkpoint-1"), ("mined", "checkpoint-1")])
    latest = read_latest(open_storage(str(root)), "small")
    assert latest["checkpoint"]["path"].startswith(f"{root}/checkpoints/checkpoint-1-")
    time.sleep(1.1)  # S3 knows seconds only
    fs.copy(f"{base}/checkpoint-1/", f"{base}/checkpoint-2/", recursive=True)
    assert look_once(root, collection, place) == (True, [("skipped", "checkpoint-2"), ("waiting", None)])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_round_that_no_cache_knows(tmp_path, collection):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run_settings(collection, tmp_path / "fresh")))
    save(tmp_path / "run/checkpoint-1", GOOD, marker="trainer_state.json")
    watcher = Process(tmp_path, "--once")
    assert watcher.until("mined", timeout=800)["round"] == "small/1"
    assert watcher.process.wait(60) == 0
