"""The readers there are, by kind of file."""

from __future__ import annotations

from tasks.corpus.readers import arrow, delimited, jsonl
from tasks.corpus.readers.rows import Reader

READERS: dict[str, Reader] = {
    "jsonl": jsonl.read,
    "csv": delimited.read,
    "parquet": arrow.read_parquet,
    "arrow": arrow.read_arrow,
}

#: kinds by ending; ``.gz`` may follow those of text
ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".arrow": "arrow"}
