"""The collection that miners are timed on: docstrings of installed packages as a BEIR folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tasks.corpus.readers.docstrings import package_roots, read
from tasks.corpus.readers.rows import Cursor
from tasks.store.keys import digest

PACKAGES = (
    "dask",
    "datasets",
    "distributed",
    "fsspec",
    "numpy",
    "pandas",
    "prefect",
    "pyarrow",
    "scipy",
    "sklearn",
    "torch",
    "transformers",
)
MIN_WORDS, MAX_WORDS = 50, 250


def write_docstrings(folder: Path, documents: int, queries: int, first: int = 0) -> int:
    """Write ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/test.tsv``: bodies of 50 to 250 words, and first paragraphs as queries.

    Args:
        folder: a new folder.
        documents: how many, chosen by hash; fewer, where the packages have no more.
        queries: how many of them have a query.
        first: queries that are passed over: of one corpus, some are mined and others are what a teacher learns from.

    Returns:
        Words of all documents.
    """
    rows = [dict(row.values) for row in read({name: package_roots(name) for name in PACKAGES}, 0, 0, Cursor()) if not row.reason]
    fitting = [row for row in rows if MIN_WORDS <= len(row["text"].split()) <= MAX_WORDS]
    chosen = sorted(fitting, key=lambda row: digest(row["doc_id"]))[:documents]
    unique: dict[str, str] = {}
    for row in chosen:
        if row["query"] and len(row["query"].split()) >= 5:
            unique.setdefault(row["query"], row["doc_id"])
    asked = sorted(unique, key=digest)[first : first + queries]
    (folder / "qrels").mkdir(parents=True)
    _lines(folder / "corpus.jsonl", [{"_id": row["doc_id"], "title": row["title"], "text": row["text"]} for row in chosen])
    _lines(folder / "queries.jsonl", [{"_id": f"q{number}", "text": query} for number, query in enumerate(asked)])
    labels = [f"q{number}\t{unique[query]}\t1" for number, query in enumerate(asked)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *labels]) + "\n")
    return sum(len(row["text"].split()) for row in chosen)


def change_documents(source: Path, target: Path, every: int) -> int:
    """A copy of a collection in which every so-manieth document got another word; how many."""
    rows = read_lines(source / "corpus.jsonl")
    for row in rows[::every]:
        row["text"] += " changed"
    (target / "qrels").mkdir(parents=True)
    _lines(target / "corpus.jsonl", rows)
    for name in ("queries.jsonl", "qrels/test.tsv"):
        (target / name).write_bytes((source / name).read_bytes())
    return len(rows[::every])


def read_lines(path: Path) -> list[dict[str, str]]:
    """The rows of a JSON-lines file."""
    with path.open() as lines:
        return [json.loads(line) for line in lines]


def _lines(path: Path, rows: Sequence[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
