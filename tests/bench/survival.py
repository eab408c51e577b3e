"""Planted survival beside the true one, on cranfield: the tables of docs/truth.md.

    python -m tests.bench.survival --data FOLDER --root FOLDER [--draws 6] [--teacher]

A random half of the labels is hidden from the miner and is the truth; of the other half's, 40 % are planted. *True*: share of the hidden
relevant documents that were retrieved and that the recipe took for a negative. Prints a Markdown table: the first draw of the halves, and
over all draws how many intervals cover, and the mean difference. With ``--teacher`` a cross-encoder is trained in each draw, on the
labels that are shown and not planted, and the recipes are those that go by it, with some that do not; the last column is then that of
``planted_survival_weighted``. Everything is cached under the root: texts are embedded once.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flows.commands.common import open_context, progress_listeners
from flows.mine import mine_round
from flows.settings import MineSettings
from flows.stored import find_round, measured, stored_stage, stored_table
from tasks.audit.records import RoundRecord, SelectionRecord
from tasks.runner.runner import Context
from tasks.store.storage import Storage
from tasks.store.tables import read_parts

RECIPES = (
    "hardmine", "top", "skip-n", "nv-retriever", "bge", "simans",
    "ance", "ambiguous-window", "query-quantiles", "bm25-static", "rance", "quotas",
)  # fmt: skip
DEPTHS = {"sources": {"dense": 100}, "teacher_depth": 20}
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
TEACHER = {"train": {"epochs": 2, "folds": 0}, "depth": 20, "max_length": 128}
ESTIMATORS = ("planted_survival", "planted_survival_weighted")
Pairs = set[tuple[str, str]]
Found = tuple[float, dict[str, tuple[float, float, float]]]
"""True survival, and each estimator's with its interval."""


def halves(source: Path, target: Path, seed: int) -> Pairs:
    """Write the collection with a random half of its labels.

    Args:
        source: cranfield as a BEIR folder.
        target: where to.
        seed: of the draw.

    Returns:
        The hidden relevant pairs of queries that keep a label.
    """
    shutil.rmtree(target, ignore_errors=True)
    (target / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl.gz", "queries.jsonl"):
        shutil.copy(source / name, target / name)
    with (source / "qrels" / "test.tsv").open(encoding="utf-8") as lines:
        rows = [row for row in list(csv.reader(lines, delimiter="\t"))[1:] if int(row[2]) > 0]
    kept = np.random.default_rng(seed).random(len(rows)) < 0.5
    shown = [row for row, mine in zip(rows, kept, strict=True) if mine]
    (target / "qrels" / "half.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join("\t".join(row) + "\n" for row in shown))
    asked = {row[0] for row in shown}
    return {(row[0], row[1]) for row, mine in zip(rows, kept, strict=True) if not mine and row[0] in asked}


def settings_of(collection: Path, root: str, seed: int, teacher: bool) -> MineSettings:
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
            "truncate": True,
            "seed": seed,
            **({"teacher": TEACHER} if teacher else {}),
        }
    )


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


def run(context: Context, data: Path, root: str, draws: int, teacher: bool) -> dict[str, list[Found]]:
    """Mine and measure each draw of the halves."""
    found: dict[str, list[Found]] = {}
    for seed in range(draws):
        collection = Path(root) / "collections" / str(seed)
        hidden = halves(data / "cranfield", collection, seed)
        result = mine_round(settings_of(collection, root, seed, teacher), context)
        chosen = {one.selection_id for one in result.selections}  # a round keeps those of earlier runs too
        for recipe, numbers in survivals(context.storage, find_round(context.storage, result.round), chosen, hidden):
            found.setdefault(recipe, []).append(numbers)
        print(seed, {name: value for name, value in result.facts.items() if name.startswith("teacher")})  # noqa: T201
    return found


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with cranfield/")
    parser.add_argument("--root", required=True, help="folder to mine in")
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--teacher", action="store_true", help="train one in each draw")
    given = parser.parse_args()
    with progress_listeners() as progress, open_context(given.root, progress) as context:
        found = run(context, given.data, given.root, given.draws, given.teacher)
    for estimator in ESTIMATORS if given.teacher else ESTIMATORS[:1]:
        print(table(found, estimator))  # noqa: T201


if __name__ == "__main__":
    main()
