"""Mining of large corpora: seconds by stage, and the most memory of any process, at several sizes.

    python -m tests.bench.large --root FOLDER --documents 100000 300000 1000000 --queries 20000

Short synthetic texts, an embedder of one layer with random weights (so that nearly all is the pipeline's own work), an IVF index of scalar
codes, no teacher. Each run is a process of its own, from an empty root.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml

from tasks.retrieve.dense import recall_of
from tasks.store.manifest import StageManifest, read_stage
from tasks.store.storage import open_storage
from tasks.store.tables import read_array
from tests.bench.measured import Measured, measure
from tests.bench.mining import machine
from tests.bench.synthetic import write_collection, write_embedder

DEPTH = 100
_SAMPLE = 200
_GROUPS = {
    "ingest": ("ingest", "documents", "query-groups", "queries"),
    "embed": ("embed-documents", "embed-queries"),
    "search": ("dense-clusters", "retrieve-dense", "bm25-statistics", "retrieve-bm25", "candidates", "scored"),
    "select": ("hub-limits", "select", "gate", "probe", "measure"),
    "shards": ("shards",),
}


@dataclass(frozen=True)
class Run:
    """One size.

    Args:
        documents: of the collection.
        measured: the process.
        stages: their manifests, in the order in which they ended, with that time.
        root: where it lies.
    """

    documents: int
    measured: Measured
    stages: tuple[tuple[float, StageManifest], ...]
    root: Path

    def of(self, stage: str) -> StageManifest:
        """A stage's manifest."""
        return next(manifest for _, manifest in self.stages if manifest.stage == stage)

    def seconds(self) -> dict[str, float]:
        """Wall seconds from the end of one group of stages to the end of the next."""
        found, before = {}, self.measured.moments[0].at
        for name, stages in _GROUPS.items():
            end = max((ended for ended, manifest in self.stages if manifest.stage in stages), default=before)
            found[name], before = end - before, end
        return found

    def most(self) -> dict[str, tuple[int, int, int]]:
        """By stage, the most memory of all processes, of the command's own and of the largest of the others, until the stage ended."""
        found: dict[str, tuple[int, int, int]] = {}
        before = 0.0
        for end, name in [*((ended, manifest.stage) for ended, manifest in self.stages), (float("inf"), "publish")]:
            here = [moment for moment in self.measured.moments if before < moment.at <= end]
            most = tuple(max((getattr(one, field) for one in here), default=0) for field in ("total", "own", "largest"))
            found[name], before = (most[0], most[1], most[2]), end
        return found

    @property
    def worker(self) -> int:
        """The most memory of any process, bytes."""
        return max(max(moment.own, moment.largest) for moment in self.measured.moments)


def mine(folder: Path, documents: int, queries: int, **changes: Any) -> Run:
    """Mine a collection of that size in an empty root; the collection and the embedder are kept."""
    if not (folder / "model").exists():
        write_embedder(folder)
    collection, root = folder / f"collection-{documents}-{queries}", folder / f"root-{documents}"
    if not collection.exists():
        write_collection(collection, documents, queries)
    shutil.rmtree(root, ignore_errors=True)
    settings = {
        "root": str(root),
        "dataset": {"name": "large", "format": "beir", "path": str(collection)},
        "model": {"path": str(folder / "model"), "max_length": 64},
        "retrieve": {"dense": {"top_k": DEPTH, "index": "ivf", "codes": "sq8"}, "bm25": None},
        "recipe": {"name": "sentence-transformers", "range_max": DEPTH - 1, "absolute_margin": -0.2},
        "formats": ["triplet"],
        **changes,
    }
    written = folder / f"run-{documents}.yaml"
    written.write_text(yaml.safe_dump(settings))
    measured = measure([str(Path(sys.executable).with_name("hardmine")), "mine", str(written), "--json"])
    return Run(documents, measured, stages_of(root), root)


def stages_of(root: Path) -> tuple[tuple[float, StageManifest], ...]:
    """All committed stages of a root, by the time of their commit."""
    storage = open_storage(str(root))
    names = [path for path in (root / "manifests").glob("*/*.json") if path.parent.name != "rounds"]
    found = [(path.stat().st_mtime, read_stage(storage, path.parent.name, path.stem, check_files=False)) for path in names]
    return tuple(sorted(((ended, stage) for ended, stage in found if stage is not None), key=lambda one: one[0]))


def recall(run: Run) -> float:
    """Share of the exact top 100 among the candidates that dense retrieval found, on a sample of the queries over the whole corpus."""
    storage = open_storage(str(run.root))
    queries = [read_array(storage, part.file("vectors.npy")) for part in run.of("embed-queries").parts]
    parts = run.of("candidates").parts
    each = max(1, _SAMPLE // len(parts))
    hits = total = 0
    for asked, part in zip(queries, parts, strict=True):
        rows = np.unique(np.linspace(0, len(asked) - 1, min(each, len(asked))).astype(np.int64))
        wanted = np.asarray(asked[rows], dtype=np.float32)
        best = np.full((len(rows), 0), -np.inf, dtype=np.float32)
        for documents in run.of("embed-documents").parts:
            scores = wanted @ np.asarray(read_array(storage, documents.file("vectors.npy")), dtype=np.float32).T
            best = -np.sort(-np.concatenate([best, -np.sort(-scores, axis=1)[:, :DEPTH]], axis=1), axis=1)[:, :DEPTH]
        path = run.root / part.file("candidates.parquet").path
        table = pq.read_table(path, columns=["query_row", "dense_rank", "dense_score"]).drop_null()
        query, score = table["query_row"].to_numpy(), table["dense_score"].to_numpy()
        for row, last in zip(rows.tolist(), best[:, -1].tolist(), strict=True):
            hits += min(DEPTH, int((score[query == row] >= last - 1e-6).sum()))
            total += DEPTH
    return hits / total


def line(run: Run) -> str:
    """Of the table."""
    seconds = " | ".join(f"{value:.0f}" for value in run.seconds().values())
    size = sum(path.stat().st_size for path in run.root.rglob("*") if path.is_file())
    peak = f"{run.measured.peak / 1e9:.2f} GB | {run.worker / 1e9:.2f} GB"
    candidates = sum(part.file("candidates.parquet").rows or 0 for part in run.of("candidates").parts)
    dense = run.of("retrieve-dense").parts
    told = f"{recall_of(dense):.3f}"
    first = f"| {run.documents:,} | {run.measured.wall:.0f} | {run.measured.cpu:.0f} | {seconds} | {peak}"
    return f"{first} | {recall(run):.3f} | {told} | {size / 1e9:.2f} GB | {candidates:,} |"


def header() -> str:
    """Of the table."""
    names = ["documents", "seconds", "CPU seconds", *_GROUPS, "peak, all processes", "peak, largest process"]
    names += ["recall@100", "as reported", "root", "candidates"]
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="a folder; collections that are there are used again")
    parser.add_argument("--documents", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--set", type=json.loads, default={}, help="further settings of the run, as JSON")
    given = parser.parse_args()
    given.root.mkdir(parents=True, exist_ok=True)
    print(f"{given.queries:,} queries, top {DEPTH}; {machine()}\n\n{header()}", flush=True)  # noqa: T201
    for documents in given.documents:
        run = mine(given.root.resolve(), documents, given.queries, **given.set)
        print(line(run), flush=True)  # noqa: T201
        for stage, (total, own, largest) in run.most().items():
            figures = f"{total / 1e6:6.0f} MB of all, {own / 1e6:6.0f} MB own, {largest / 1e6:6.0f} MB largest other"
            print(f"{documents:>9,} {stage:<20} {figures}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
