"""What a teacher's graded scores add to the default recipe's rows: the masked softmax beside divergence, MarginMSE, and both together.

    python -m tests.bench.graded banking77-thin --data FOLDER --root FOLDER --teacher FOLDER --seeds 1

The round is mined without a teacher (the labels' evidence decides); then the teacher, a folder that ``hardmine train-teacher`` made on the
same splits, scores the rows' own pairs alone: a tenth of what a whole round asks of it. So all rows have all scores, and all arms train on
the same rows. Prints a Markdown table after each training, as :mod:`tests.bench.retrievers` does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa

from flows.commands.common import open_context, progress_listeners
from flows.mine import mine_round
from flows.stored import stored_stage, stored_table
from flows.training import Evaluated, evaluate_checkpoint, train
from tasks.audit.records import RoundRecord, StageRef, read_round
from tasks.compare.truth import read_truth
from tasks.evaluate.settings import EvaluateSettings
from tasks.features.task import scored
from tasks.models.fingerprint import teacher_spec
from tasks.models.settings import TeacherSettings
from tasks.models.train_settings import TrainSettings
from tasks.runner.runner import Context
from tasks.score.task import Asked, score
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.tables import read_table
from tests.bench.retrievers import DATASETS, MASKED, settings_of, table

ARMS: dict[str, dict[str, Any]] = {
    "masked softmax": MASKED,
    "masked softmax and KL": {"kind": "contrastive_kl"},
    "MarginMSE": {"kind": "margin_mse", "similarity": "cosine", "scale": 20.0},
    "KL": {"kind": "kl_divergence"},
}
_DEPTH = 1000


def graded(context: Context, record: RoundRecord, teacher: Path) -> tuple[RoundRecord, int]:
    """The round with the teacher's scores of the default selection's rows, and how many pairs those are."""
    storage, own = context.storage, stored_table(context.storage, record)
    merged = stored_stage(storage, record.stage("candidates")).parts
    chosen = stored_stage(storage, record.selection("hardmine").select).parts
    sources = [name for name in own.sources if name != "random"]
    asked = [_asked(context, number, *parts) for number, parts in enumerate(zip(chosen, own.scored, strict=True))]
    settings = TeacherSettings(path=str(teacher), max_length=128)
    spec = teacher_spec(settings, storage=storage)
    given = (merged, own.queries, own.documents)
    judged = score(context, *given, spec, _DEPTH, sources, 20_000, None, asked=Asked(asked, "rows", 1))
    laid = scored(context, own.sources, *given, judged.parts, (), (), "sigmoid")
    roles = {**record.roles, "scored": StageRef(stage=laid.stage, key=laid.key)}
    return record.model_copy(update={"roles": roles}), sum(part.counters.get("model_calls", 0) for part in judged.parts)


def _asked(context: Context, number: int, select: Part, scored_part: Part) -> Part:
    """``asked.parquet``: the places of the rows' pairs among a partition's candidates."""
    rows, pairs = (
        read_table(context.storage, part.file(name), ["query_id", "doc_id"])
        for part, name in ((select, "rows.parquet"), (scored_part, "scored.parquet"))
    )
    wanted = set(_pairs(rows))
    places = [place for place, pair in enumerate(_pairs(pairs)) if pair in wanted]
    out = Output(context.storage, f"data/asking/rows-{number}")
    out.table("asked.parquet", pa.table({"row": pa.array(places, pa.int64())}))
    return Part(stage="asking", key=f"rows{number}", index=f"q{number:04d}", files=tuple(out.files))


def _pairs(table: pa.Table) -> Iterator[tuple[str, str]]:
    return zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", choices=sorted(DATASETS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    own = DATASETS[given.dataset]
    truth = read_truth(given.data / given.dataset / "qrels" / own["truth"]).pairs if own["truth"] else None
    settings = settings_of(given.dataset, given.data, given.root, teacher=False).model_copy(update={"recipes": ()})
    evaluate = EvaluateSettings(split="test", reread_test=True)
    found: dict[str, list[Evaluated]] = {}
    with progress_listeners() as progress, open_context(given.root, progress) as context:
        mined = read_round(context.storage, settings.dataset.name, mine_round(settings, context).number)
        record, pairs = graded(context, mined, given.teacher)
        print(f"the teacher scored {pairs:,} pairs", flush=True)  # noqa: T201
        for seed, arm in product(range(given.seeds), ARMS):
            training = TrainSettings.model_validate({**own["train"], "loss": ARMS[arm], "seed": seed})
            trained = train(context, record, record.selection("hardmine"), training)
            reached = evaluate_checkpoint(context, mined, trained.model, evaluate, truth)
            print(json.dumps({"arm": arm, "seed": seed, "facts": trained.facts, **reached.measures["nDCG@10"]}), flush=True)  # noqa: T201
            found.setdefault(arm, []).append(reached)
            print(table(context, given.dataset, found, "masked softmax"), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
