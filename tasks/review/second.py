"""Scores of a second teacher, from a file of the user's."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import InputError
from tasks.foreign import checked, repair
from tasks.review.signals import SCORES

_MEND = "give query_id, doc_id and score, as .parquet, .csv, .tsv or .jsonl"


def read_scores(path: Path) -> pa.Table:
    """Scores of pairs by a second teacher.

    Args:
        path: .parquet, .csv, .tsv or .jsonl with query_id, doc_id, score.

    Returns:
        :data:`tasks.review.signals.SCORES`, by query_id and doc_id.

    Raises:
        InputError: the file cannot be read, a column is missing, a score is no number, or a pair comes twice.
    """
    found: dict[tuple[str, str], float] = {}
    place = "start"
    try:
        for place, row in _rows(path):
            pair, score = (str(row["query_id"]), str(row["doc_id"])), float(row["score"])
            if any(repair(one) is not one for one in pair):
                raise InputError(f"{path}: {place}: an id has a NUL or a lone surrogate", _MEND)
            if not math.isfinite(score):
                raise InputError(f"{path}: {place}: the score {row['score']!r} is no number", _MEND)
            if pair in found:
                raise InputError(f"{path}: {place}: query {pair[0]!r} with document {pair[1]!r} comes twice", "leave one of the scores")
            found[pair] = score
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError, csv.Error, pa.ArrowException) as error:
        raise InputError(f"{path}: {place}: no scores of pairs ({type(error).__name__}: {error})", _MEND) from error
    pairs = sorted(found)
    return pa.table([[query for query, _ in pairs], [doc for _, doc in pairs], [found[pair] for pair in pairs]], schema=SCORES)


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, row) of each row."""
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            batches = file.iter_batches(columns=["query_id", "doc_id", "score"])
            for number, row in enumerate((row for batch in batches for row in checked(batch).to_pylist()), 1):
                yield f"row {number}", row
    elif path.suffix in (".csv", ".tsv"):
        csv.field_size_limit(sys.maxsize)
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, delimiter="\t" if path.suffix == ".tsv" else ",")
            for record in reader:
                yield f"line {reader.line_num}", record
    else:
        with path.open(encoding="utf-8") as text:
            for number, line in enumerate(text, 1):
                if line.strip():
                    yield f"line {number}", json.loads(line)
