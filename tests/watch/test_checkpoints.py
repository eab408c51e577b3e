import pytest
from pydantic import ValidationError

from tasks.store.seen import SeenFile, look_at
from tasks.watch.checkpoint import Checkpoint, Stillness, checkpoints
from tasks.watch.settings import WatchSettings


def checkpoint(name="checkpoint-1", /, **written):
    """Files by name (two underscores stand for a dot), with the second at which each was written."""
    files = {key.replace("__", "."): time for key, time in written.items()}
    return Checkpoint(name, tuple(SeenFile(file, 10, str(time), time) for file, time in sorted(files.items())))


MODEL = {"config__json": 5.0, "model__safetensors": 6.0}
AUTO, NAMED, NONE = WatchSettings(), WatchSettings(marker="done"), WatchSettings(marker="none")


@pytest.mark.parametrize(
    ("settings", "files", "still", "missing"),
    [
        (AUTO, {"model__safetensors": 6.0}, 900, "config.json or modules.json"),
        (AUTO, {"config__json": 5.0, "trainer_state__json": 9.0}, 900, "its weights"),
        (AUTO, {**MODEL, "trainer_state__json": 7.0}, 0, None),
        (AUTO, {**MODEL, "trainer_state__json": 6.0}, 0, None),  # S3 knows seconds only
        (AUTO, {**MODEL, "_SUCCESS": 7.0}, 0, None),
        (AUTO, {**MODEL, "trainer_state__json": 5.5}, 59, "60 s without a change"),  # from the content before
        (AUTO, {**MODEL, "trainer_state__json": 5.5}, 60, None),
        (AUTO, MODEL, 59, "60 s without a change"),
        (AUTO, MODEL, 60, None),
        (NAMED, {**MODEL, "trainer_state__json": 7.0}, 900, "the marker done"),
        (NAMED, {**MODEL, "done": 7.0}, 0, None),
        (NAMED, {**MODEL, "done": 5.5}, 59, "60 s without a change"),
        (NAMED, {**MODEL, "done": 5.5}, 60, None),
        (NONE, {**MODEL, "_SUCCESS": 7.0}, 59, "60 s without a change"),
        (NONE, MODEL, 60, None),
    ],
)
def test_complete_by_marker_or_by_time(settings, files, still, missing):
    assert checkpoint(**files).waits_for(settings, still) == missing


def test_a_pickle_counts_as_weights_here_so_that_it_can_be_refused():
    assert checkpoint(config__json=5.0, pytorch_model__bin=6.0, _SUCCESS=7.0).waits_for(AUTO, 0) is None


def test_which_folders_are_checkpoints():
    names = [
        "a/config.json", "b/modules.json", "b/0/model.safetensors", "c/model.safetensors", "runs/events.1", "eval/results.csv",
        ".d/config.json", "tmp-checkpoint-9/config.json", "config.json", "e/deep/config.json",
    ]  # fmt: skip
    found = checkpoints(SeenFile(name, 1, "m", 0.0) for name in names)
    assert {one.name: [file.name for file in one.files] for one in found} == {
        "a": ["config.json"],
        "b": ["0/model.safetensors", "modules.json"],
        "c": ["model.safetensors"],
    }


def test_order_by_time_of_the_models_files_or_by_step():
    old = checkpoint("checkpoint-900", config__json=1.0, model__safetensors=2.0, optimizer__pt=99.0)
    new = checkpoint("checkpoint-1000", config__json=3.0)
    late = checkpoint("checkpoint-50", config__json=4.0)
    none = checkpoint("best", config__json=4.0)
    assert old.written == 2.0  # the optimizer's state is not the model
    assert [one.step for one in (old, new, late, none)] == [900, 1000, 50, -1]
    everyone = [new, late, none, old]
    assert sorted(everyone, key=lambda one: one.order("time")) == [old, new, none, late]
    assert sorted(everyone, key=lambda one: one.order("step")) == [none, late, old, new]
    assert checkpoint("step_12.final", config__json=0.0).step == 12


def test_the_signature_sees_every_change(tmp_path):
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / "config.json").write_text("{}")

    def signature():
        return Checkpoint("c", tuple(look_at(folder))).signature

    seen = [signature()]
    assert signature() == seen[0]
    for name, content in (("config.json", "{ }"), ("model.safetensors", "x"), ("_SUCCESS", "")):
        (folder / name).write_text(content)
        seen.append(signature())
    (folder / "new").write_text("{ }")
    (folder / "new").replace(folder / "config.json")  # the same bytes, another file
    seen.append(signature())
    assert len(set(seen)) == 5
    assert look_at(tmp_path / "absent") == []


def test_stillness_starts_anew_with_each_change():
    still = Stillness()
    one, two = checkpoint("a", config__json=1.0), checkpoint("b", config__json=1.0)
    assert still.update([one], 100.0) == {"a": 0.0}
    assert still.update([one, two], 130.0) == {"a": 30.0, "b": 0.0}
    assert still.update([checkpoint("a", config__json=2.0), two], 140.0) == {"a": 0.0, "b": 10.0}
    assert still.update([two], 150.0) == {"b": 20.0}
    assert still.update([one, two], 160.0) == {"a": 0.0, "b": 30.0}  # it was away


@pytest.mark.parametrize("wrong", [{"marker": "a/b"}, {"marker": ""}, {"stable_for": -1}, {"poll": 0}, {"newest_by": "name"}])
def test_settings_are_checked(wrong):
    with pytest.raises(ValidationError):
        WatchSettings(**wrong)
