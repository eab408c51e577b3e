"""One round as a user runs it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import ASPECTS, ROOT, SUBJECTS, round_settings, shard_bytes


def test_a_round_from_run_yaml_to_sql(hardmine, collection, cross_encoder):
    run = hardmine.write(**round_settings(collection, cross_encoder))
    result = hardmine.json("mine", run)
    assert result["round"] == "small/1"
    assert result["documents"] == 144
    assert result["queries"] == 48
    chosen = result["selections"][0]
    assert chosen["gate"]["passed"]
    assert sum(chosen["negatives_per_row"].values()) == 96  # two positives each
    assert {stage["stage"] for stage in result["stages"]} >= {
        "ingest",
        "embed-documents",
        "retrieve-dense",
        "candidates",
        "score",
        "scored",
        "select",
        "gate",
        "shards",
    }
    assert sum(stage["model_calls"] for stage in result["stages"] if stage["stage"].startswith("embed")) == 144 + 48
    for name, folder in chosen["shards"].items():
        files = sorted(Path(folder).glob("*.parquet"))
        assert files, name
    triplets = pq.ParquetDataset(sorted(Path(chosen["shards"]["triplet"]).glob("*.parquet"))).read()
    assert triplets.column_names == ["anchor", "positive", "negative"]
    assert triplets.num_rows == sum(int(number) * rows for number, rows in chosen["negatives_per_row"].items())

    again = hardmine.json("mine", run)
    assert again["round"] == "small/1"
    assert all(stage["cached"] for stage in again["stages"])

    counted = json.loads(hardmine("sql", "SELECT decision, count(*) AS n FROM decisions GROUP BY 1 ORDER BY 1", "--format", "json")[0])
    assert {row["decision"]: row["n"] for row in counted} == chosen["decisions"]
    why = json.loads(hardmine("sql", "SELECT * FROM why('q0', 'd0-0')", "--format", "json")[0])
    assert why[0]["decision"] == "positive"
    assert "small/1" in hardmine("rounds")[0]
    documented = re.findall(r"    -- .*\n((?:    .+\n)+)", (ROOT / "docs/audit.md").read_text())
    assert len(documented) == 3
    for statement in documented:
        hardmine("sql", statement, "--format", "json")
    story = hardmine.json("show", "q0")
    assert {one["doc_id"] for one in story["positives"]} == {"d0-0", "d0-1"}

    assert "needs dense to rank 100 (mined: 30)" in hardmine("select", "small/1", "--recipe", "nv-retriever", code=2)[1]
    other = hardmine.json("select", "small/1", "--recipe", "{name: nv-retriever, depth: 30}", "--format", "n-tuple")
    assert other["recipe"] == "nv-retriever"
    assert "rocketqa*" in hardmine("rounds")[0], "another recipe does not replace the published one"
    cosine = "{rules: [{kind: near_duplicate_cosine, on_null: keep}], needs: {sources: {dense: 30}}}"
    assert "the round has none" in hardmine("select", "small/1", "--recipe", cosine, code=2)[1]
    failed = hardmine("sql", "SELECT 1", "--format", "csv", "--out", "nowhere/x.csv", code=1)[1]
    assert "nowhere/x.csv" in failed
    assert "Traceback" not in failed
    hardmine("export", "small/1", "--format", "flagembedding", "--out", "exported")
    lines = [json.loads(line) for path in sorted((hardmine.folder / "exported").glob("*.jsonl")) for line in path.open()]
    assert {line["query"] for line in lines} <= {f"how is the {aspect} of a {subject} found?" for aspect in ASPECTS for subject in SUBJECTS}
    assert all(line["pos"] and line["neg"] for line in lines)
    assert "exported: the folder is not empty" in hardmine("export", "small/1", "--format", "triplet", "--out", "exported", code=2)[1]


def test_wrong_use_and_failures_have_their_exit_codes(hardmine_alone, collection):
    run = hardmine_alone.write(**round_settings(collection, recipe="rocketka"))
    _, err = hardmine_alone("mine", run, code=2)
    assert "did you mean 'rocketqa'" in err
    assert "Traceback" not in err
    assert hardmine_alone("mine", code=2)[1]
    assert "no such command" in hardmine_alone("mime", code=2)[1].lower()
    broken = hardmine_alone.write("b.yaml", **round_settings("nowhere"))
    _, err = hardmine_alone("mine", broken, code=1)
    assert "nowhere" in err
    assert "Traceback" not in err
    hub = hardmine_alone.write("c.yaml", **round_settings(collection, model={"path": "nobody/nothing"}))
    _, err = hardmine_alone("mine", hub, code=1)
    assert "nobody/nothing" in err
    assert "packaged" in err
    assert "rocketqa" in hardmine_alone("recipes", "rocketqa")[0]


HEAVY = ("torch", "prefect", "distributed", "faiss", "transformers", "sklearn", "pandas")


def test_a_cached_run_starts_neither_prefect_nor_dask_nor_torch(hardmine_alone, collection):
    run = hardmine_alone.write(**round_settings(collection, retrieve={"dense": {"top_k": 120}}))
    first = hardmine_alone.json("mine", run)
    result, loaded = loaded_by(hardmine_alone, "run.yaml")
    assert loaded == []
    assert result["candidate_set_id"] == first["candidate_set_id"]
    hardmine_alone.write(
        "other.yaml", **round_settings(collection, retrieve={"dense": {"top_k": 120}}, recipe={"name": "top", "depth": 30})
    )
    other, loaded = loaded_by(hardmine_alone, "other.yaml")
    assert not {*loaded} - {"pandas"}, "few candidates are selected from in the process itself"
    assert other["candidate_set_id"] == first["candidate_set_id"] and other["selection_id"] != first["selection_id"]


def loaded_by(hardmine, run):
    """A run's result, and which of the heavy packages its process has loaded."""
    code = (
        f"import json, sys; from flows.cli import main; sys.argv = ['hardmine', 'mine', {run!r}, '--json']\n"
        f"try: main()\nfinally: print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=hardmine.folder, env=hardmine.environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return map(json.loads, done.stdout.splitlines()[-2:])


@pytest.mark.fault("Ctrl-C", "SIGINT while documents are embedded")
def test_ctrl_c_stops_cleanly_and_the_next_run_goes_on(hardmine, collection):
    run = hardmine.write(**round_settings(collection))
    process = hardmine.start("mine", run)
    wait_for(hardmine.folder / "mining/manifests/documents", process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "run the same command again" in err
    assert "Traceback" not in err
    assert hardmine.json("mine", run)["round"] == "small/1"


STAGES = [
    "documents",
    "embed-documents",
    "embed-queries",
    "retrieve-dense",
    "retrieve-bm25",
    "candidates",
    "score",
    "calibrate",
    "scored",
    "signatures",
    "feature-containment",
    "select",
    "gate",
    "measure",
    "shards",
]


@pytest.mark.fault("a run with Dask workers is killed in every stage", "SIGKILL of the process group after a stage's first partition")
@pytest.mark.parametrize("stages", [STAGES[1::4], pytest.param(STAGES, marks=pytest.mark.slow)], ids=["some", "all"])
def test_killed_in_stages_and_with_other_workers_the_bytes_are_the_same(hardmine, collection, cross_encoder, stages):
    undisturbed = hardmine.json("mine", hardmine.write("one.yaml", **round_settings(collection, cross_encoder, root="one", workers=1)))
    two = hardmine.json("mine", hardmine.write("two.yaml", **round_settings(collection, cross_encoder, root="two", workers=2)))
    expected = {name: shard_bytes(folder) for name, folder in undisturbed["selections"][0]["shards"].items()}
    assert {name: shard_bytes(folder) for name, folder in two["selections"][0]["shards"].items()} == expected

    run = hardmine.write("killed.yaml", **round_settings(collection, cross_encoder, root="killed", workers=1))
    root = hardmine.folder / "killed"
    finished = {}
    for stage in stages:
        process = hardmine.start("mine", run)
        wait_for(root / "manifests" / stage / "parts", process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
        for path in root.glob("manifests/*/parts/*.json"):
            finished.setdefault(path, path.stat().st_mtime_ns)
    result = hardmine.json("mine", run)
    assert {name: shard_bytes(folder) for name, folder in result["selections"][0]["shards"].items()} == expected
    assert len(finished) >= len(stages)
    again = [str(path) for path, written in finished.items() if path.stat().st_mtime_ns != written]
    assert again == [], "finished partitions were computed again"
    assert result["candidate_set_id"] == undisturbed["candidate_set_id"]


@pytest.mark.fault("two runs at once", "two processes, one dataset, one root, one recipe")
def test_two_runs_at_once_share_the_work(hardmine, collection):
    """Of one dataset and root: each stage is computed by one of them; the other waits and takes it from there."""
    run = hardmine.write(**round_settings(collection))
    running = [hardmine.start("mine", run, "--json") for _ in range(2)]
    told = [process.communicate(timeout=280) for process in running]
    assert [process.returncode for process in running] == [0, 0], told
    first, second = (json.loads(out.splitlines()[-1]) for out, _ in told)
    assert first["round"] == second["round"] == "small/1"
    computed = Counter(stage["stage"] for result in (first, second) for stage in result["stages"] if not stage["cached"])
    assert computed.pop("shards") == 2, "one of each format"
    assert set(computed.values()) == {1}
    assert computed.keys() >= {"documents", "embed-documents", "retrieve-dense", "scored", "select"}
    assert list((hardmine.folder / "mining/leases").rglob("*.json")) == []


@pytest.mark.slow
@pytest.mark.fault("two recipes at once", "two processes, one dataset, one root, two recipes; then each alone")
def test_two_recipes_at_once_are_two_rounds_as_each_alone(hardmine, collection):
    recipes = ("top", "nv-retriever")
    runs = [hardmine.write(f"{recipe}.yaml", **round_settings(collection, recipe=recipe)) for recipe in recipes]
    running = [hardmine.start("mine", run, "--json") for run in runs]
    told = [process.communicate(timeout=280) for process in running]
    assert [process.returncode for process in running] == [0, 0], told
    found = [json.loads(out.splitlines()[-1]) for out, _ in told]
    for recipe, result in zip(recipes, found, strict=True):
        alone = hardmine.json("mine", hardmine.write("alone.yaml", **round_settings(collection, recipe=recipe, root=f"alone-{recipe}")))
        mine = next(one for one in result["selections"] if one["recipe"] == recipe)
        (expected,) = alone["selections"]
        assert {name: shard_bytes(folder) for name, folder in mine["shards"].items()} == {
            name: shard_bytes(folder) for name, folder in expected["shards"].items()
        }
    hardmine("verify")


def test_a_checkpoint_overwritten_in_place_is_another_model_and_a_renamed_one_is_not(hardmine, collection, tmp_path):
    import shutil

    from safetensors.numpy import load_file, save_file

    from tasks.models.location import packaged

    shutil.copytree(packaged(), tmp_path / "checkpoint")
    (tmp_path / "checkpoint").chmod(0o755)
    settings = round_settings(collection, model={"path": "checkpoint", "max_length": 64, "dtype": "float32"})
    first = hardmine.json("mine", hardmine.write(**settings))
    (tmp_path / "checkpoint").rename(tmp_path / "renamed")
    renamed = hardmine.json("mine", hardmine.write(**{**settings, "model": {**settings["model"], "path": "renamed"}}))
    assert renamed["round"] == first["round"]
    assert all(stage["cached"] for stage in renamed["stages"])

    weights = load_file(tmp_path / "renamed/model.safetensors")
    name = "encoder.layer.5.output.dense.weight"
    weights[name] = weights[name] * 1.5
    (tmp_path / "renamed/model.safetensors").unlink()
    save_file(weights, tmp_path / "renamed/model.safetensors", metadata={"format": "pt"})
    changed = hardmine.json("mine", hardmine.folder / "run.yaml")
    assert changed["round"] == "small/2"
    embedded = {stage["stage"]: stage["model_calls"] for stage in changed["stages"]}
    assert embedded["embed-documents"] == 144
    assert embedded["embed-queries"] == 48


def wait_for(folder, process, timeout=120):
    """Until a file lies in a folder, or the process has ended."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if (folder.is_dir() and any(folder.glob("*.json"))) or process.poll() is not None:
            return
        time.sleep(0.005)
    pytest.fail(f"nothing in {folder}")


def test_the_same_round_on_s3(hardmine, collection, s3_root):
    local = hardmine.json("mine", hardmine.write("local.yaml", **round_settings(collection, root="local")))
    remote = hardmine.json("mine", hardmine.write("remote.yaml", **round_settings(collection, root=s3_root)))
    assert remote["candidate_set_id"] == local["candidate_set_id"]
    hardmine("export", "small/1", "--format", "triplet", "--out", "there", "--root", s3_root)
    hardmine("export", "small/1", "--format", "triplet", "--out", "here", "--root", "local")
    assert shard_bytes(hardmine.folder / "there") == shard_bytes(hardmine.folder / "here")
    assert "positive" in hardmine("sql", "SELECT DISTINCT decision FROM decisions", "--root", s3_root)[0]


def test_the_project_speaks_of_itself_in_help():
    done = subprocess.run([sys.executable, "-m", "flows.cli", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    for command in ("quickstart", "ingest", "mine", "select", "export", "sql", "rounds", "show", "doctor", "recipes"):
        assert command in done.stdout
