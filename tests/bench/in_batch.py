"""In-batch rates without judgements beside the truth, on banking77-thin: the figures of docs/truth.md.

    python -m tests.bench.in_batch --data FOLDER --root FOLDER [--seeds 20]

The root holds a mined round of banking77-thin with a teacher, as tests.bench.retrievers leaves it. One line for the truth, one for labels
alone, one for so many simulated reviews of 300 pairs: mean, spread over the reviews, and how many intervals hold the truth.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flows.commands.common import open_context, progress_listeners
from flows.measuring import Measuring, keep_truth
from flows.review_sample import emitted_pairs
from flows.selection import Decided, Table, measure_selection, shard_settings
from flows.stored import find_round, stored_settings, stored_stage, stored_table
from tasks.audit.records import RoundRecord
from tasks.compare.truth import read_truth
from tasks.runner.runner import Context
from tasks.select.recipe import Recipe
from tasks.truth.frame import frame
from tasks.truth.sampling import draw, plan
from tasks.truth.settings import SamplingSettings, TruthSettings
from tasks.truth.task import Review

_SHARES = ("in_batch_pairs", "in_batch_rows")
Shares = list[tuple[float, float, float]]  # of pairs and of rows: rate, low, high


def shares(context: Context, record: RoundRecord, table: Table, reviews: tuple[Review, ...], ending: str) -> Shares:
    """As stage ``measure`` has them for the published recipe."""
    selection, settings = record.selection(), stored_settings(record)
    recipe = Recipe.model_validate(selection.recipe_settings)
    features = {name: stored_stage(context.storage, reference) for name, reference in selection.features.items()}
    outcome = Decided(selection.selection_id, stored_stage(context.storage, selection.select), features)
    reasons = shard_settings(settings, recipe).suspect_reasons
    *_, measured = measure_selection(context, table, recipe, outcome, settings.seed, reasons, reviews)
    found: dict[str, Any] = measured.parts[0].meta["estimates"]
    return [(rate, low, high) for rate, low, high, *_ in (found[f"{name}{ending}"] for name in _SHARES)]


def simulated(context: Context, record: RoundRecord, truth: pa.Table, seed: int) -> Review:
    """A review of 300 pairs that all recipes emitted, answered by the truth."""
    emitted = emitted_pairs(context.storage, record, record.selections)
    prior, ranks = (emitted[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in ("prior", "dense_rank"))
    planned = plan(prior, ranks, frame(emitted).members, SamplingSettings(budget=300))
    rows, inclusion = draw(planned, np.random.default_rng(seed).random(emitted.num_rows))
    drawn = emitted.take(pa.array(rows)).select(["query_id", "doc_id"])
    relevant = set(zip(truth["query_id"].to_pylist(), truth["doc_id"].to_pylist(), strict=True))
    pairs = zip(drawn["query_id"].to_pylist(), drawn["doc_id"].to_pylist(), strict=True)
    labels = pa.array(["relevant" if pair in relevant else "not" for pair in pairs])
    drawn = drawn.append_column("label", labels).append_column("stratum", pa.array(planned.stratum[rows].astype(np.int64)))
    every = [part for one in record.selections for part in stored_stage(context.storage, one.select).parts]
    return Review(drawn.append_column("inclusion", pa.array(inclusion)), every)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with banking77-thin/")
    parser.add_argument("--root", required=True, help="with a mined round of banking77-thin")
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    qrels = given.data / "banking77-thin" / "qrels" / "exhaustive.tsv.gz"
    with progress_listeners() as progress, open_context(given.root, progress) as context:
        record = find_round(context.storage, "banking77-thin/1")
        table, settings = stored_table(context.storage, record), stored_settings(record)
        judged = settings.model_copy(update={"truth": TruthSettings(qrels=str(qrels))})
        measured = Measuring.of(judged, keep_truth(context.storage, judged))
        true = shares(context, record, Table(**{**vars(table), "measuring": measured}), (), "")
        alone = shares(context, record, table, (), "_by_labels")
        truth = read_truth(qrels).relevant
        reviews = [simulated(context, record, truth, seed) for seed in range(given.seeds)]
        found = np.array([shares(context, record, table, (review,), "_estimated") for review in reviews])
    for name, exact, most, each in zip(_SHARES, true, alone, found.transpose(1, 2, 0), strict=True):
        held = ((each[1] <= exact[0]) & (exact[0] <= each[2])).sum()
        words = f"truth {exact[0]:.2%}; by labels alone: {most[0]:.2%} ({most[1]:.2%} to {most[2]:.2%}); reviews: mean"
        print(f"{name}: {words} {each[0].mean():.2%}, spread {each[0].std(ddof=1):.2%}, {held} of {given.seeds} intervals hold it")  # noqa: T201


if __name__ == "__main__":
    main()
