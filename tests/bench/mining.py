"""Mining timed beside sentence-transformers' miner, on docstrings of installed packages; then the same again with what is known already.

    python -m tests.bench.mining --root FOLDER [--documents 4000] [--queries 300] [--depth 30]

Each run is a process of its own, as a user starts it: imports, loading and writing count. The teacher is trained before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from tasks.models.location import packaged
from tasks.runner.cores import cores
from tests.bench.measured import Measured, measure
from tests.bench.workload import change_documents, read_lines, write_docstrings

NEGATIVES = 5
Negatives = dict[str, list[str]]


class Bench:
    """The runs of one comparison, under one folder."""

    def __init__(self, folder: Path, documents: int, queries: int, depth: int) -> None:
        self.folder, self.depth = folder, depth
        self.rows: list[tuple[str, Measured, Negatives, str]] = []
        self.collection = folder / "collection"
        if not self.collection.exists():
            write_docstrings(self.collection, documents, queries)
        self.teacher = folder / "teacher"
        if not self.teacher.exists():
            self._train_teacher(documents, queries)

    def theirs(self, dtype: str) -> None:
        """sentence-transformers' miner."""
        out = self.folder / f"sentence-transformers-{dtype}.json"
        command = ["-m", "tests.bench.sentence_transformers_miner", self.collection, self.teacher, dtype, self.depth, NEGATIVES, out]
        measured = measure([sys.executable, *map(str, command)])
        self._done(f"sentence-transformers, {dtype}", measured, json.loads(out.read_text()))

    def ours(self, name: str, **changes: Any) -> None:
        """``hardmine mine``; ``changes`` to its settings."""
        settings = self._settings(**changes)
        measured = measure([str(Path(sys.executable).with_name("hardmine")), "mine", str(self._written("run", settings)), "--json"])
        result = json.loads(measured.output.strip().splitlines()[-1])
        calls = {stage["stage"]: stage["model_calls"] for stage in result["stages"] if stage["model_calls"]}
        shards = next(one["shards"] for one in result["selections"] if one["selection_id"] == result["selection_id"])
        self._done(
            f"hardmine, {name}",
            measured,
            negatives_in(Path(shards["n-tuple"])),
            ", ".join(f"{stage} {count:,}" for stage, count in calls.items()),
        )

    def table(self) -> str:
        """Markdown: seconds, ratios to the first two runs, memory, agreement with the first one's negatives, model calls."""
        exact, rounded = self.rows[0], next(row for row in self.rows if row[0] == "sentence-transformers, bfloat16")
        lines = [
            "| run | seconds | CPU seconds | float32 ÷ this | bfloat16 ÷ this | peak memory | same negatives | model calls |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for name, measured, found, calls in self.rows:
            ratios = f"{exact[1].wall / measured.wall:.2f} | {rounded[1].wall / measured.wall:.2f}"
            memory = f"{measured.peak / 1e9:.2f} GB"
            same = f"{100 * agreement(found, exact[2]):.1f} %"
            lines.append(f"| {name} | {measured.wall:.1f} | {measured.cpu:.0f} | {ratios} | {memory} | {same} | {calls} |")
        return "\n".join(lines)

    def _done(self, name: str, measured: Measured, found: Negatives, calls: str = "") -> None:
        self.rows.append((name, measured, found, calls))
        print(f"{name}: {measured.wall:.1f} s, {measured.cpu:.0f} CPU s, {measured.peak / 1e9:.2f} GB", file=sys.stderr, flush=True)  # noqa: T201

    def _settings(self, backend: str = "int8-static", **changes: Any) -> dict[str, Any]:
        model = {"max_length": 256, "backend": backend}
        return {
            "root": str(self.folder / f"root-{backend}"),
            "dataset": {"name": "docstrings", "format": "beir", "path": str(self.collection)},
            "model": {"path": "packaged", **model},
            "teacher": {"path": str(self.teacher), "depth": self.depth + 1, **model},
            "retrieve": {"dense": {"top_k": self.depth + 1}, "bm25": None},
            "recipe": {"name": "sentence-transformers", "cross_encoder": True, "range_max": self.depth, "relative_margin": 0.0},
            "num_negatives": NEGATIVES,
            "planted": 0,
            "formats": ["n-tuple"],
            **changes,
        }

    def _written(self, name: str, settings: dict[str, Any]) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(settings))
        return path

    def _train_teacher(self, documents: int, queries: int) -> None:
        """On other queries of the same documents: four for each that is mined. What a teacher says that was not trained is noise."""
        learnt = self.folder / "teacher-collection"
        write_docstrings(learnt, documents, 4 * queries, first=queries)
        train = {"epochs": 1, "folds": 0, "max_length": 64, "max_rank": self.depth, "random_negatives": 2}
        settings = self._settings(
            root=str(self.folder / "teacher-root"),
            dataset={"name": "docstrings", "format": "beir", "path": str(learnt)},
            teacher={"train": train, "depth": 2, "max_length": 64},
        )
        command = [Path(sys.executable).with_name("hardmine"), "train-teacher", self._written("teacher", settings), "--out", self.teacher]
        subprocess.run([str(part) for part in command], check=True)


def agreement(found: Negatives, reference: Negatives) -> float:
    """Share of the reference's negatives that were found too, over the queries that both have."""
    both = found.keys() & reference.keys()
    same = sum(len(set(found[query]) & set(reference[query])) for query in both)
    return same / max(1, sum(len(reference[query]) for query in both))


def negatives_in(folder: Path) -> Negatives:
    """Documents by query text, of n-tuple files."""
    found: Negatives = {}
    for path in sorted(folder.glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            found[row["anchor"]] = [row[f"negative_{number}"] for number in range(1, NEGATIVES + 1)]
    return found


def renamed_checkpoint(folder: Path) -> Path:
    """The packaged model with every weight a little off: another checkpoint."""
    if not folder.exists():
        import torch
        from safetensors.torch import load_file, save_file

        shutil.copytree(packaged(), folder)
        weights = load_file(folder / "model.safetensors")
        torch.manual_seed(0)
        off = {name: one + 1e-3 * torch.randn_like(one) if one.is_floating_point() else one for name, one in weights.items()}
        save_file(off, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def machine() -> str:
    """What it was measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    has = " ".join(flag for flag in ("avx512_bf16", "avx512_vnni", "amx_bf16") if flag in flags)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "sentence-transformers"))
    return f"{cores()} cores of {model} ({has or 'no bfloat16'}), Python {platform.python_version()}, {versions}"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="a new folder, or one whose teacher and collection are used again")
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--depth", type=int, default=30)
    given = parser.parse_args()
    bench = Bench(given.root, given.documents, given.queries, given.depth)
    for backend in ("int8-static", "fused"):
        shutil.rmtree(given.root / f"root-{backend}", ignore_errors=True)
    bench.theirs("float32")
    bench.ours("cold, 8 bits")
    bench.theirs("bfloat16")
    bench.ours("cold, bfloat16", backend="fused")
    bench.ours("again")
    bench.ours("another recipe", recipe="nv-retriever", truncate=True)
    changed = given.root / "changed"
    if not changed.exists():
        change_documents(bench.collection, changed, 100)
    bench.ours("1 % of documents changed", dataset={"name": "docstrings", "format": "beir", "path": str(changed)})
    bench.ours(
        "new checkpoint", model={"path": str(renamed_checkpoint(given.root / "checkpoint")), "max_length": 256, "backend": "int8-static"}
    )
    documents = read_lines(bench.collection / "corpus.jsonl")
    words = sum(len(row["text"].split()) for row in documents) / len(documents)
    queries = len(read_lines(bench.collection / "queries.jsonl"))
    print(f"{len(documents):,} documents of {words:.0f} words, {queries} queries, teacher to rank {given.depth}; {machine()}\n")  # noqa: T201
    print(bench.table())  # noqa: T201


if __name__ == "__main__":
    main()
