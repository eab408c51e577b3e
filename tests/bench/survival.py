"""Planted survival beside the true one, on cranfield: the tables of docs/truth.md.

    python -m tests.bench.survival --data FOLDER --root FOLDER [--draws 6] [--teacher]

A random half of the labels is hidden from the miner and is the truth; of the other half's, 40 % are planted. *True*: share of the hidden
relevant documents that were retrieved and that the recipe took for a negative. Prints a Markdown table: the first draw of the halves, and
over all draws how many intervals cover, and the mean difference. With ``--teacher`` a cross-encoder is trained once, on the labels of every
third query; halves are drawn of the others, whose labels it never saw. The recipes are then those that go by a teacher, with some that do
not, and there is a table of ``planted_survival_weighted`` too, where the teacher can tell. Everything is cached under the root: texts are
embedded and scored once.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flows.commands.common import open_context, progress_listeners
from flows.mine import mine_round
from flows.settings import MineSettings
from flows.stored import find_round, measured, stored_stage, stored_table
from flows.teaching import teach
from tasks.audit.records import RoundRecord, SelectionRecord
from tasks.runner.runner import Context
from tasks.store.storage import Storage
from tasks.store.tables import read_parts

RECIPES = (
    "hardmine", "top", "skip-n", "nv-retriever", "bge", "simans",
    "ance", "ambiguous-window", "query-quantiles", "bm25-static", "rance", "quotas",
)  # fmt: skip
DEPTH = 20
DEPTHS = {"sources": {"dense": 100}, "teacher_depth": DEPTH}
COPIES = {"kind": "duplicate"}
HALF = {"kind": "teacher_ceiling", "ceiling": 0.5, "on_null": "reject"}
NEARLY = {"kind": "relative_margin", "score": "teacher_sigmoid", "margin": 0.05, "on_null": "reject"}
SCORED: tuple[str | dict[str, Any], ...] = (
    "hardmine", "rocketqa", "pair", "middle-band",
    {"name": "teacher-under-half", "needs": DEPTHS, "rules": [COPIES, HALF]},
    {"name": "percpos-by-teacher", "needs": DEPTHS, "rules": [COPIES, NEARLY]},
    "top", "skip-n", "nv-retriever", "bge", "simans", "quotas",
)  # fmt: skip
HEADER = "| recipe | true | planted survival | interval | covers | mean difference, points |\n|---|---|---|---|---|---|"
TRAINING = {"train": {"folds": 0, "max_pairs": 2000, "frozen_layers": 3}, "depth": 10, "max_length": 128}
ESTIMATORS = ("planted_survival", "planted_survival_weighted")
Pairs = set[tuple[str, str]]
Found = tuple[float, dict[str, tuple[float, float, float]]]
"""True survival, and each estimator's with its interval."""


def write_collection(source: Path, target: Path, name: str, rows: list[list[str]]) -> None:
    """The collection's documents, with these judgements and the queries that they are of."""
    shutil.rmtree(target, ignore_errors=True)
    (target / "qrels").mkdir(parents=True)
    shutil.copy(source / "corpus.jsonl.gz", target / "corpus.jsonl.gz")
    asked = {row[0] for row in rows}
    lines = (source / "queries.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (target / "queries.jsonl").write_text("".join(line for line in lines if json.loads(line)["_id"] in asked), encoding="utf-8")
    (target / "qrels" / f"{name}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join("\t".join(row) + "\n" for row in rows))


def relevant_rows(source: Path, teacher: bool) -> tuple[list[list[str]], list[list[str]]]:
    """The relevant judgements: those that a teacher is trained on (of every third query; without a teacher none), and the others."""
    with (source / "qrels" / "test.tsv").open(encoding="utf-8") as lines:
        rows = [row for row in list(csv.reader(lines, delimiter="\t"))[1:] if int(row[2]) > 0]
    thirds = set(list(dict.fromkeys(row[0] for row in rows))[::3]) if teacher else set()
    return [row for row in rows if row[0] in thirds], [row for row in rows if row[0] not in thirds]


def halves(source: Path, target: Path, seed: int, rows: list[list[str]]) -> Pairs:
    """Write the collection with a random half of its labels.

    Args:
        source: cranfield as a BEIR folder.
        target: where to.
        seed: of the draw.
        rows: the judgements to halve.

    Returns:
        The hidden relevant pairs of queries that keep a label.
    """
    kept = np.random.default_rng(seed).random(len(rows)) < 0.5
    shown = [row for row, mine in zip(rows, kept, strict=True) if mine]
    write_collection(source, target, "half", shown)
    asked = {row[0] for row in shown}
    return {(row[0], row[1]) for row, mine in zip(rows, kept, strict=True) if not mine and row[0] in asked}


def settings_of(collection: Path, root: str, seed: int, teacher: Path | None) -> MineSettings:
    """Of one draw."""
    recipes = SCORED if teacher else RECIPES
    name = f"{'scored' if teacher else 'cranfield'}-{seed}"
    return MineSettings.model_validate(
        {
            "root": root,
            "dataset": {"name": name, "format": "beir", "path": str(collection), "split": "half"},
            "retrieve": {"dense": {"top_k": 210}, "bm25": {"top_k": 100}, "random": {"count": 5}},
            "planted": 0.4,
            "recipe": recipes[0],
            "recipes": recipes[1:],
            "formats": ["triplet"],
            "truncate": True,
            "seed": seed,
            **({"teacher": {"path": str(teacher), "depth": DEPTH, "max_length": 128}} if teacher else {}),
        }
    )


def taught(context: Context, source: Path, root: Path, rows: list[list[str]]) -> Path:
    """The folder of a teacher that is trained on these judgements."""
    folder, collection = root / "teacher", root / "collections" / "teacher"
    if not folder.is_dir():
        write_collection(source, collection, "third", rows)
        dataset = {"name": "teacher", "format": "beir", "path": str(collection), "split": "third"}
        settings = {"root": str(root), "dataset": dataset, "teacher": TRAINING, "truncate": True}
        print(teach(MineSettings.model_validate(settings), context, folder).facts)  # noqa: T201
    return folder


def survivals(storage: Storage, record: RoundRecord, chosen: set[str], hidden: Pairs) -> Iterator[tuple[str, Found]]:
    """Of each of a round's chosen selections."""
    sources = [f"{source}_rank" for source in record.settings["sources"]]
    scored = read_parts(storage, stored_table(storage, record).scored, "scored.parquet", ["query_id", "doc_id", *sources])
    found = np.any([scored[name].is_valid().to_numpy() for name in sources], axis=0)
    pairs = zip(scored["query_id"].to_pylist(), scored["doc_id"].to_pylist(), found.tolist(), strict=True)
    relevant = hidden & {(query, doc) for query, doc, there in pairs if there}
    for selection in (one for one in record.selections if one.selection_id in chosen):
        table = measured(storage, selection, "estimates.parquet")
        assert table is not None, "every selection is measured"
        rows = {row["estimator"]: (row["rate"], row["low"], row["high"]) for row in table.to_pylist() if row["slice"] == "all"}
        estimates = {name: rows[name] for name in ESTIMATORS if name in rows}
        yield selection.recipe, (len(negatives(storage, selection) & relevant) / len(relevant), estimates)


def negatives(storage: Storage, selection: SelectionRecord) -> Pairs:
    """What a selection emitted."""
    decided = read_parts(storage, stored_stage(storage, selection.select).parts, "decisions.parquet", ["query_id", "doc_id", "decision"])
    return {
        (query, doc) for query, doc, what in zip(*(column.to_pylist() for column in decided.columns), strict=True) if what == "negative"
    }


def table(found: dict[str, list[Found]], estimator: str) -> str:
    """Markdown: a line a recipe, and how many intervals cover in all."""
    lines, held, total = [HEADER], 0, 0
    for recipe, draws in found.items():
        true = np.array([one for one, _ in draws])
        planted, low, high = np.array([estimates[estimator] for _, estimates in draws]).T
        covers = (low <= true) & (true <= high)
        held, total = held + int(covers.sum()), total + len(covers)
        interval = f"{100 * low[0]:.1f} – {100 * high[0]:.1f}"
        counts = f"{covers.sum()} of {len(covers)} | {100 * (planted - true).mean():+.1f}"
        lines.append(f"| `{recipe}` | {100 * true[0]:.1f} % | {100 * planted[0]:.1f} % | {interval} | {counts} |")
    return "\n".join([f"{estimator}:", "", *lines, "", f"{held} of {total} cover ({held / total:.2f})"])


def run(context: Context, data: Path, root: Path, draws: int, teacher: bool) -> dict[str, list[Found]]:
    """Mine and measure each draw of the halves."""
    found: dict[str, list[Found]] = {}
    source = data / "cranfield"
    taught_rows, rows = relevant_rows(source, teacher)
    folder = taught(context, source, root, taught_rows) if teacher else None
    for seed in range(draws):
        collection = root / "collections" / str(seed)
        hidden = halves(source, collection, seed, rows)
        result = mine_round(settings_of(collection, str(root), seed, folder), context)
        chosen = {one.selection_id for one in result.selections}  # a round keeps those of earlier runs too
        for recipe, numbers in survivals(context.storage, find_round(context.storage, result.round), chosen, hidden):
            found.setdefault(recipe, []).append(numbers)
    return found


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with cranfield/")
    parser.add_argument("--root", required=True, help="folder to mine in")
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--teacher", action="store_true", help="with one that was trained on other queries")
    given = parser.parse_args()
    with progress_listeners() as progress, open_context(given.root, progress) as context:
        found = run(context, given.data, Path(given.root), given.draws, given.teacher)
    for estimator in ESTIMATORS:
        if all(estimator in estimates for draws in found.values() for _, estimates in draws):
            print(table(found, estimator))  # noqa: T201


if __name__ == "__main__":
    main()
