"""How many promoted pairs are relevant, on banking77-thin with its truth: the table of docs/promotion.md.

    python -m tests.bench.promotion --data FOLDER --root FOLDER

The root holds a mined round of banking77-thin with a teacher, as tests.bench.retrievers leaves it. Nothing is promoted: dry runs over
thresholds. Prints a Markdown table: pairs, queries, and the share that is relevant with its interval over queries.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flows.commands.common import open_context, progress_listeners
from flows.promotion import promote_round
from flows.stored import find_round
from tasks.compare.truth import read_truth
from tasks.intervals import codes, proportion
from tasks.review.settings import PromotionSettings

CASES: dict[str, dict[str, Any]] = {
    "as set by default": {},
    "beyond_labels=false": {"beyond_labels": False},
    "beyond_labels=false teacher=margin": {"beyond_labels": False, "teacher": "margin"},
    "beyond_labels=false teacher=margin teacher_margin=1": {"beyond_labels": False, "teacher": "margin", "teacher_margin": 1.0},
    "beyond_labels=false teacher=margin teacher_margin=2": {"beyond_labels": False, "teacher": "margin", "teacher_margin": 2.0},
    "beyond_labels=false teacher=margin label_evidence=0.6": {"beyond_labels": False, "teacher": "margin", "label_evidence": 0.6},
    "beyond_labels=false teacher=margin label_evidence=0.95": {"beyond_labels": False, "teacher": "margin", "label_evidence": 0.95},
    "beyond_labels=false teacher=margin per_query=1": {"beyond_labels": False, "teacher": "margin", "per_query": 1},
}


def line(name: str, promoted: pa.Table, relevant: set[tuple[str, str]]) -> str:
    """A line of the table."""
    pairs = list(zip(promoted["query_id"].to_pylist(), promoted["doc_id"].to_pylist(), strict=True))
    if not pairs:
        return f"| `{name}` | 0 | | |"
    hits = np.array([pair in relevant for pair in pairs], dtype=np.float64)
    share = proportion(hits, np.ones(len(hits)), codes(promoted["query_id"]))
    precision = f"{share.estimate:.1%} ({100 * share.low:.1f} – {100 * share.high:.1f})"
    return f"| `{name}` | {len(pairs):,} | {share.n_clusters:,} | {precision} |"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with banking77-thin/")
    parser.add_argument("--root", required=True, help="with a mined round of banking77-thin")
    given = parser.parse_args()
    truth = read_truth(given.data / "banking77-thin" / "qrels" / "exhaustive.tsv.gz").relevant
    relevant = set(zip(truth["query_id"].to_pylist(), truth["doc_id"].to_pylist(), strict=True))
    with progress_listeners() as progress, open_context(given.root, progress) as context:
        record = find_round(context.storage, "banking77-thin/1")
        lines = ["| `--set` | pairs | queries | relevant |", "|---|---|---|---|"]
        for name, settings in CASES.items():
            found = promote_round(context, record, PromotionSettings.model_validate(settings), dry_run=True)
            lines.append(line(name, found.promotion.promoted, relevant))
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
