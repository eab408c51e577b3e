"""What each way to choose negatives makes of a retriever: trained with several seeds, measured on queries that none was trained on.

    python -m tests.bench.retrievers banking77-thin --data FOLDER --root FOLDER --seeds 5

Prints a Markdown table after each training: mean and spread of nDCG@10 over the seeds so far, and the difference from in-batch negatives of
the same seeds with a paired bootstrap over queries. Everything is cached under the root: a run that was stopped goes on, and prints first
what it has. Two rounds of the default recipe are mined with the
checkpoints of the same seed; the teacher is the first round's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flows.commands.common import open_context, progress_listeners
from flows.mine import mine_round
from flows.settings import MineSettings
from flows.training import Evaluated, evaluate_checkpoint, train
from tasks.audit.checkpoints import read_evaluations
from tasks.audit.records import RoundRecord, read_round
from tasks.compare.truth import read_truth
from tasks.evaluate.intervals import resampled_means
from tasks.evaluate.settings import EvaluateSettings
from tasks.models.stored import location
from tasks.models.train_settings import TrainSettings
from tasks.runner.runner import Context
from tasks.store.manifest import read_stage
from tasks.store.tables import read_table

PLAIN = {"kind": "multiple_negatives_ranking"}
MASKED = {"kind": "masked_multiple_negatives_ranking"}
TWO = "hardmine, two rounds"
# In the order in which a seed's are trained; of graded losses MarginMSE at the scale of the softmax, since cosines have no logits' width.
SYSTEMS: dict[str, tuple[str, dict[str, Any]]] = {
    "in-batch": ("in-batch", {"loss": PLAIN}),
    "hardmine, one round": ("hardmine", {"loss": MASKED}),
    "hardmine, masked and KL": ("hardmine", {"loss": {"kind": "contrastive_kl"}}),
    "hardmine, KL": ("hardmine", {"loss": {"kind": "kl_divergence"}}),
    "hardmine, MarginMSE": ("hardmine", {"loss": {"kind": "margin_mse", "similarity": "cosine", "scale": 20.0}}),
    TWO: ("hardmine", {"loss": MASKED}),
    "hardmine, one round, two epochs": ("hardmine", {"loss": MASKED, "epochs": 2}),
    "top-K, KL": ("top", {"loss": {"kind": "kl_divergence"}}),
    "in-batch, masked": ("hardmine", {"loss": MASKED, "num_negatives": 0}),
    "denoised (rocketqa)": ("rocketqa", {"loss": PLAIN}),
    "top-K, unfiltered": ("top", {"loss": PLAIN}),
    "BM25": ("bm25-static", {"loss": PLAIN}),
}
GRADED = ("contrastive_kl", "kl_divergence", "margin_mse")
DATASETS: dict[str, dict[str, Any]] = {
    "banking77-thin": {
        "dataset": {"split": "labelled"},
        "num_negatives": 3,
        "train": {},
        "truth": "exhaustive.tsv.gz",
        "teacher": {"train": {"epochs": 2}, "depth": 10, "max_length": 128},
    },
    "xquad-en": {
        "dataset": {"split": "test"},
        "num_negatives": 1,
        "train": {"max_length": 128},
        "truth": None,
        "teacher": {"train": {"epochs": 2, "max_length": 128}, "depth": 10, "max_length": 256},
    },
}
Scores = dict[str, list[np.ndarray]]


def settings_of(name: str, data: Path, root: str, teacher: bool) -> MineSettings:
    """Of the first round."""
    own = DATASETS[name]
    splits = {"train": 0.6, "dev": 0.1, "test": 0.3}
    dataset = {"name": name, "format": "beir", "path": str(data / name), "splits": splits, **own["dataset"]}
    recipes = ["in-batch", "bm25-static", "top", *(["rocketqa"] if teacher else [])]
    return MineSettings.model_validate(
        {
            "root": root,
            "dataset": dataset,
            "recipe": "hardmine",
            "recipes": recipes,
            "num_negatives": own["num_negatives"],
            "truncate": True,
            "retrieve": {"dense": {"top_k": 210}, "bm25": {"top_k": 100}},
            **({"teacher": own["teacher"]} if teacher else {}),
        }
    )


def measure(
    context: Context, settings: MineSettings, name: str, truth: pa.Table | None, seeds: int, systems: Sequence[str]
) -> Iterator[tuple[str, int, Evaluated]]:
    """(system, seed, what it reached), as they come."""
    evaluate = EvaluateSettings(split="test", reread_test=True)  # what is measured here is the systems, and none is chosen by it
    first = read_round(context.storage, settings.dataset.name, mine_round(settings, context).number)
    recipes = {one.recipe for one in first.selections}
    yield "base", 0, evaluate_checkpoint(context, first, None, evaluate, truth)
    for seed, system in product(range(seeds), systems):
        recipe, update = SYSTEMS[system]
        if recipe not in recipes or (settings.teacher is None and update["loss"]["kind"] in GRADED):
            continue
        given = TrainSettings.model_validate({**DATASETS[name]["train"], **update, "seed": seed})
        trained = train(context, first, first.selection(recipe), given)
        if system == TWO:
            yield system, seed, second(context, settings, first, trained.model, given, evaluate, truth)
        else:
            yield system, seed, evaluate_checkpoint(context, first, trained.model, evaluate, truth)


def second(
    context: Context,
    settings: MineSettings,
    first: RoundRecord,
    model: str,
    training: TrainSettings,
    evaluate: EvaluateSettings,
    truth: pa.Table | None,
) -> Evaluated:
    """Another round with the first one's checkpoint."""
    again = settings.model_copy(update={"model": settings.model.model_copy(update={"path": model}), "recipes": ()})
    mined = mine_round(again, context, teachers_of=first)
    record = read_round(context.storage, mined.dataset, mined.number)
    return evaluate_checkpoint(context, record, train(context, record, record.selection("hardmine"), training).model, evaluate, truth)


def table(context: Context, dataset: str, found: dict[str, list[Evaluated]], beside: str = "in-batch") -> str:
    """Markdown: a line a system, compared over the seeds that it has in common with the system ``beside``."""
    scores: Scores = {system: [per_query(context, dataset, one) for one in each] for system, each in found.items()}
    lines = [f"| negatives | nDCG@10 | spread over seeds | seeds | against {beside} (95 %) |", "|---|---|---|---|---|"]
    for system, each in scores.items():
        means = np.array([one.mean() for one in each])
        reference = scores[beside][: len(each)] if system != "base" else scores[beside]
        difference = np.mean(each, axis=0) - np.mean(reference, axis=0)
        low, high = paired(difference)
        spread = f"{means.std(ddof=1):.4f}" if len(means) > 1 else "–"
        lines.append(f"| {system} | {means.mean():.4f} | {spread} | {len(means)} | {difference.mean():+.4f} ({low:+.4f} to {high:+.4f}) |")
    return "\n".join(lines)


def per_query(context: Context, dataset: str, one: Evaluated) -> np.ndarray:
    """nDCG@10 of each query, in one order."""
    recorded = read_evaluations(context.storage, dataset)
    kept = next(each for each in recorded if (location(context.storage, each.path), each.measures) == (one.model, one.measures))
    manifest = read_stage(context.storage, kept.evaluate.stage, kept.evaluate.key)
    assert manifest is not None
    rows = read_table(context.storage, manifest.parts[0].file("metrics.parquet")).to_pandas()
    own = rows[rows["measure"] == "nDCG@10"].sort_values("query_id")
    return np.asarray(own["value"], dtype=np.float64)


def paired(difference: np.ndarray) -> tuple[float, float]:
    """A 95 % interval of the mean difference, by the bootstrap over queries."""
    low, high = np.quantile(resampled_means(difference[:, None], 2000, 0), (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", choices=sorted(DATASETS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--teacher", action="store_true")
    parser.add_argument(
        "--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS), metavar="SYSTEM", help="in-batch is always one"
    )
    given = parser.parse_args()
    settings = settings_of(given.dataset, given.data, given.root, given.teacher)
    own = DATASETS[given.dataset]
    truth = read_truth(given.data / given.dataset / "qrels" / own["truth"]).pairs if own["truth"] else None
    systems = list(dict.fromkeys(["in-batch", *given.systems]))
    found: dict[str, list[Evaluated]] = {}
    with progress_listeners() as progress, open_context(given.root, progress) as context:
        for system, seed, reached in measure(context, settings, given.dataset, truth, given.seeds, systems):
            print(json.dumps({"system": system, "seed": seed, **reached.measures["nDCG@10"], "model": reached.model}), flush=True)  # noqa: T201
            found.setdefault(system, []).append(reached)
            if "in-batch" in found:
                print(table(context, given.dataset, found), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
