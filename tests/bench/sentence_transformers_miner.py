"""sentence-transformers' own miner over a BEIR folder, as a process to be timed: ``FOLDER TEACHER DTYPE DEPTH NEGATIVES OUT``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tasks.models.location import packaged
from tests.bench.workload import read_lines


def main() -> None:
    """Mine, and write the negatives as JSON: query text to documents."""
    folder, teacher, dtype, depth, negatives, out = sys.argv[1:]
    import torch
    from datasets import Dataset
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    arguments = {"device": "cpu", "local_files_only": True, "model_kwargs": {"dtype": getattr(torch, dtype)}}
    model = SentenceTransformer(str(packaged()), **arguments)
    model.max_seq_length = 256
    scorer = CrossEncoder(teacher, max_length=256, **arguments)
    documents = {row["_id"]: f"{row['title']} {row['text']}" for row in read_lines(Path(folder) / "corpus.jsonl")}
    queries = {row["_id"]: row["text"] for row in read_lines(Path(folder) / "queries.jsonl")}
    labels = [line.split("\t") for line in (Path(folder) / "qrels" / "test.tsv").read_text().splitlines()[1:]]
    mined = mine_hard_negatives(
        Dataset.from_dict({"anchor": [queries[query] for query, _, _ in labels], "positive": [documents[doc] for _, doc, _ in labels]}),
        model,
        corpus=list(documents.values()),
        cross_encoder=scorer,
        range_max=int(depth),
        num_negatives=int(negatives),
        relative_margin=0.0,
        output_format="n-tuple",
        verbose=False,
    )
    found = {row["anchor"]: [row[f"negative_{number}"] for number in range(1, int(negatives) + 1)] for row in mined.to_list()}
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
