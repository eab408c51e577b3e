"""What K folds of the teacher do to the leak: one teacher that scores the queries that it was trained on, against K that never do.

    python -m tests.bench.folds --data FOLDER --root FOLDER [--folds 3]

banking77-thin, whose labels are exhaustive; recipes that the teacher decides alone, and the default. Prints a Markdown table: leak with a
95 % interval over the measured queries, hardness and yield, and what training and scoring took.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from flows.commands.common import open_context, progress_listeners
from flows.compare import CompareRequest, compare
from flows.mine import mine_round
from flows.settings import MineSettings
from flows.stored import stored_stage
from tasks.audit.records import read_round
from tasks.compare.truth import read_truth
from tasks.runner.runner import Context

RECIPES = ("rocketqa", "pair", "hardmine")


def settings_of(data: Path, root: str, folds: int) -> MineSettings:
    """Of a round whose teachers are trained on all labelled queries."""
    return MineSettings.model_validate(
        {
            "root": root,
            "dataset": {"name": f"folds-{folds}", "format": "beir", "path": str(data / "banking77-thin"), "split": "labelled"},
            "retrieve": {"dense": {"top_k": 100}, "bm25": {"top_k": 50}},
            "teacher": {"train": {"epochs": 2, "folds": folds}, "depth": 10, "max_length": 128},
            "recipe": "hardmine",
            "truncate": True,
        }
    )


def rows(context: Context, data: Path, folds: int) -> list[str]:
    """Table rows of one number of folds."""
    truth = read_truth(data / "banking77-thin" / "qrels" / "exhaustive.tsv.gz", data / "banking77-thin" / "measured.txt")
    mined = mine_round(settings_of(data, context.storage.root, folds), context)
    record = read_round(context.storage, mined.dataset, mined.number)
    stages = [stored_stage(context.storage, one) for one in record.stages]
    seconds = {name: sum(one.seconds for one in stages if one.stage == name) for name in ("train-teacher", "score")}
    found = compare(context, record, CompareRequest(recipes=RECIPES, truth=truth, truncate=True, sweep_queries=0))
    lines = []
    for outcome in found.outcomes:
        got, leak = outcome.metrics.compared, outcome.metrics.leak
        assert leak is not None  # a truth is given
        rate = f"{100 * leak.total.value:.1f} % ({100 * leak.total.low:.1f} – {100 * leak.total.high:.1f})"
        hardness = f"{got.similarity.mean:.3f}" if got.similarity else "none"
        name = f"{folds} folds" if folds else "one teacher"
        cost = f"{seconds['train-teacher']:.0f} s | {seconds['score']:.0f} s"
        lines.append(f"| {outcome.recipe} | {name} | {rate} | {hardness} | {100 * got.served:.1f} % | {cost} |")
    return lines


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--folds", type=int, default=3)
    given = parser.parse_args()
    with progress_listeners() as progress, open_context(given.root, progress) as context:
        lines = [line for folds in (0, given.folds) for line in rows(context, given.data, folds)]
    print("| recipe | teacher | leak (95 %) | mean cosine | served | training | scoring |\n|---|---|---|---|---|---|---|")  # noqa: T201
    print("\n".join(sorted(lines)))  # noqa: T201


if __name__ == "__main__":
    main()
