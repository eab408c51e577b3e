"""RLHN on banking77-thin with scripted judges: the table of docs/judges.md.

    python -m tests.bench.judged --data FOLDER --root FOLDER [--noise 0.1]

The root holds a mined round of banking77-thin (dense to rank 100, BM25 to 50). The judges are no language models: they answer over HTTP on
loopback from the truth, and are wrong about a share of the pairs (by hash of judge and pair), which is what the table is about. Only the
negatives of the 462 measured queries are judged. Prints a Markdown table: leak with its interval over queries, hardness, rows, questions.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from flows.cache_only import Quiet
from flows.commands.common import open_context
from flows.judge_round import read_ids
from flows.judging import judge_recipe
from flows.selection import Decided, Table, decide
from flows.stored import find_round, stored_facts, stored_table
from tasks.compare.truth import read_truth
from tasks.intervals import codes, proportion
from tasks.judge.settings import JudgeSettings
from tasks.runner.runner import Context
from tasks.select.registry import compose_recipe
from tasks.store.tables import read_parts, read_table
from tests.remote.server import Behaviour, Endpoint, serving

CASES: dict[str, dict[str, Any]] = {
    "cheap alone, drop negative": {"strong": None, "threshold": 0.5},
    "cheap, then strong, drop negative": {},
    "cheap, then strong, relabel": {"action": "relabel"},
    "cheap, then strong, drop pair": {"action": "drop_pair"},
}


def judge(name: str, relevant: set[tuple[str, str]], noise: float) -> Callable[[Any, int], Behaviour]:
    """A judge that answers from the truth, but for a share of the pairs; it knows texts only, as a model does."""

    def script(messages: Any, times: int) -> Behaviour:
        text = messages[-1]["content"]
        query, document = text.split("Query:\n")[1].split("\n\nA document that")[0], text.rsplit("The document to judge:\n", 1)[1].strip()
        wrong = xxhash.xxh3_64_intdigest(f"{name}\x1f{query}\x1f{document}".encode()) < noise * 2**64
        answer = {"relevant": ((query, document) in relevant) != wrong, "confidence": 0.9, "reason": "scripted"}
        return Behaviour(json.dumps(answer))

    return script


def texts(context: Context, table: Table) -> tuple[dict[str, str], dict[str, str]]:
    """Queries' and documents' texts by id, as the judge is shown them."""
    queries = read_parts(context.storage, table.queries, "queries.parquet", ["query_id", "text"]).to_pylist()
    documents = read_parts(context.storage, table.documents, "docs.parquet", ["doc_id", "text"]).to_pylist()
    return {row["query_id"]: row["text"] for row in queries}, {row["doc_id"]: row["text"].strip() for row in documents}


def line(context: Context, name: str, outcome: Decided, table: Table, ids: frozenset[str], truth: set[tuple[str, str]], asked: str) -> str:
    """A line of the table."""
    found = pa.concat_tables([_rows(context, part, scored) for part, scored in zip(outcome.decisions.parts, table.scored, strict=True)])
    found = found.filter(pc.is_in(found["query_id"], value_set=pa.array(sorted(ids))))
    anchors = found.filter(pc.equal(found["slot"], 0))
    negatives = found.filter(pc.greater(found["slot"], 0)).group_by(["query_id", "doc_id"]).aggregate([("dense_score", "min")])
    pairs = zip(negatives["query_id"].to_pylist(), negatives["doc_id"].to_pylist(), strict=True)
    hits = np.array([pair in truth for pair in pairs], dtype=np.float64)
    share = proportion(hits, np.ones(len(hits)), codes(negatives["query_id"]))
    leak = f"{share.estimate:.1%} ({100 * share.low:.1f} – {100 * share.high:.1f})"
    kept = len(anchors["query_id"].unique())
    extra = sum((q, d) in truth for q, d in zip(anchors["query_id"].to_pylist(), anchors["doc_id"].to_pylist(), strict=True))
    return f"| {name} | {leak} | {pc.mean(negatives['dense_score_min']).as_py():.3f} | {kept} | {anchors.num_rows} ({extra}) | {asked} |"


def _rows(context: Context, part: Any, scored: Any) -> pa.Table:
    rows = read_table(context.storage, part.file("rows.parquet"), ["query_id", "doc_id", "slot"])
    scores = read_table(context.storage, scored.file("scored.parquet"), ["query_id", "doc_id", "dense_score"])
    return rows.join(scores, keys=["query_id", "doc_id"])


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with banking77-thin/")
    parser.add_argument("--root", required=True, help="with a mined round of banking77-thin")
    parser.add_argument("--noise", type=float, default=0.1, help="share of the pairs that a judge is wrong about")
    parser.add_argument("--recipes", default="top,hardmine")
    given = parser.parse_args()
    folder = given.data / "banking77-thin"
    known = read_truth(folder / "qrels" / "exhaustive.tsv.gz").relevant
    truth = set(zip(known["query_id"].to_pylist(), known["doc_id"].to_pylist(), strict=True))
    ids = read_ids(folder / "measured.txt") or frozenset()
    with open_context(given.root, Quiet()) as context:
        record = find_round(context.storage, "banking77-thin/1")
        table = stored_table(context.storage, record)
        queries, documents = texts(context, table)
        relevant = {(queries[query], documents[document]) for query, document in truth if query in ids}
        print("| recipe, judges | leak | hardness | queries served | rows (relevant) | asked (cheap, strong) |\n|---|---|---|---|---|---|")  # noqa: T201
        for name in given.recipes.split(","):
            recipe = compose_recipe(name, stored_facts(record))
            print(line(context, f"`{name}`", decide(context, table, recipe, 0), table, ids, truth, ""), flush=True)  # noqa: T201
            for case, changes in CASES.items():
                with (
                    serving(Endpoint(judge("cheap", relevant, given.noise))) as cheap,
                    serving(Endpoint(judge("strong", relevant, given.noise))) as strong,
                ):
                    models = {
                        role: {"url": served.url, "model": f"{role}-{given.noise}", "key_from": "", "concurrency": 4}
                        for role, served in (("cheap", cheap), ("strong", strong))
                    }
                    settings = JudgeSettings.model_validate({**models, "rounds": 8, **changes})
                    found = judge_recipe(context, table, recipe, settings, 0, record.number, ids)
                outcome = decide(context, table, found.recipe, 0)
                record_of = found.record(record.dataset, record.number, "")
                asked = f"{record_of.pairs:,}, {record_of.flagged if settings.strong else 0:,}"
                print(line(context, f"`{name}`, {case}", outcome, table, ids, truth, asked), flush=True)  # noqa: T201
            for one in found.agreement:
                print(f"agreement {one.first}/{one.second}: {one.share:.3f}, kappa {one.kappa}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
