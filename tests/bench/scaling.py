"""How embedding and scoring scale: a Dask scheduler with one worker, then with two, each pinned to a core of its own.

    python -m tests.bench.scaling --root FOLDER [--documents 4000] [--queries 300] [--depth 30]

Docstrings of installed packages, the packaged model as retriever and, with a head of random weights, as teacher: what it says is of no use,
what it costs is the same. A stage's wall time is from the beginning of its first partition to the commit of its last, by the manifests;
workers have imported torch before, and load the models within it. Nothing else should run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from distributed import Client

from flows.server import free_port
from tasks.models.location import packaged
from tasks.store.manifest import read_stage
from tasks.store.storage import open_storage
from tests.bench.measured import measure
from tests.bench.mining import machine
from tests.bench.workload import write_docstrings

STAGES = ("embed-documents", "score")


def write_teacher(folder: Path) -> None:
    """The packaged encoder with a random head."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForSequenceClassification.from_pretrained(packaged(), num_labels=1).save_pretrained(folder)
    AutoTokenizer.from_pretrained(packaged()).save_pretrained(folder)


@contextmanager
def cluster(cores: list[int]) -> Iterator[str]:
    """A scheduler, and a worker on each core that has imported torch; its address."""
    address = f"tcp://127.0.0.1:{free_port()}"
    dask = [sys.executable, "-m", "dask"]
    commands = [[*dask, "scheduler", "--host", address, "--no-dashboard"]]
    commands += [["taskset", "-c", str(core), *dask, "worker", address, "--nthreads", "1", "--no-dashboard"] for core in cores]
    environment = {**os.environ, "HARDMINE_WORKER_CORES": "1", "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [subprocess.Popen(command, env=environment, **quiet) for command in commands]
    try:
        with Client(address, timeout="60s") as client:
            client.wait_for_workers(len(cores), timeout=60)
            client.run(_import)
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(30)


def _import() -> None:
    import sentence_transformers  # noqa: F401


def walls(root: Path) -> dict[str, float]:
    """Wall seconds of the stages that run a model."""
    storage, found = open_storage(str(root)), {}
    for stage in STAGES:
        (name,) = (path.stem for path in (root / "manifests" / stage).glob("*.json"))
        manifest = read_stage(storage, stage, name)
        assert manifest is not None
        ends = {part.key: (root / "manifests" / stage / "parts" / f"{part.key}.json").stat().st_mtime for part in manifest.parts}
        found[stage] = max(ends.values()) - min(ends[part.key] - part.seconds for part in manifest.parts)
    return found


def run(folder: Path, cores: list[int], depth: int) -> dict[str, float]:
    """Mine in a new root with a worker on each core."""
    root, model = folder / f"root-{len(cores)}", {"max_length": 256}
    shutil.rmtree(root, ignore_errors=True)
    with cluster(cores) as address:
        settings = {
            "root": str(root),
            "dataset": {"name": "docstrings", "format": "beir", "path": str(folder / "collection")},
            "model": {"path": "packaged", **model},
            "teacher": {"path": str(folder / "teacher"), "depth": depth, **model},
            "retrieve": {"dense": {"top_k": depth}, "bm25": None},
            "recipe": {"name": "top"},
            "cluster": address,
        }
        written = folder / f"run-{len(cores)}.yaml"
        written.write_text(yaml.safe_dump(settings))
        measure([str(Path(sys.executable).with_name("hardmine")), "mine", str(written), "--json"])
    return walls(root)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--depth", type=int, default=30)
    given = parser.parse_args()
    folder = given.root.resolve()
    if not (folder / "collection").exists():
        write_docstrings(folder / "collection", given.documents, given.queries)
    if not (folder / "teacher").exists():
        write_teacher(folder / "teacher")
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("two cores are needed")
    one, two = run(folder, cores[:1], given.depth), run(folder, cores, given.depth)
    print(f"{given.documents:,} documents, {given.queries} queries, teacher to rank {given.depth}; {machine()}\n")  # noqa: T201
    print("| stage | one worker, s | two workers, s | ratio |\n|---|---|---|---|")  # noqa: T201
    for stage in STAGES:
        print(f"| {stage} | {one[stage]:.1f} | {two[stage]:.1f} | {one[stage] / two[stage]:.2f} |")  # noqa: T201


if __name__ == "__main__":
    main()
