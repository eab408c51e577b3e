"""TREC files: a run of the negatives, qrels of the positives. Texts are elsewhere, ids join them.

trec_eval's formats: a run has ``query Q0 document rank score tag``, qrels have ``query 0 document relevance``, parted by single blanks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import InputError
from tasks.shards.layouts import Layout
from tasks.shards.material import Material, listed
from tasks.shards.settings import ShardSettings

TAG = "hardmine"


def trec_run(material: Material, layout: Layout, settings: ShardSettings) -> pa.Table:
    """One row a query: doc_ids and scores (dense_score, which every pair has) of its negatives, the largest score first, ties by id.

    trec_eval goes by the scores and not by the ranks, so both say the same here; the order of the recipe is in the sidecar.
    """
    negative = ~layout.is_positive()
    lines, counts = layout.lines[negative], layout.negatives
    documents, scores = material.line_column("doc_id", lines), material.line_column("dense_score", lines)
    names, values = np.asarray(documents.to_pylist(), dtype=str), scores.to_numpy(zero_copy_only=False)
    order = pa.array(np.lexsort((names, -values, np.repeat(np.arange(len(layout)), counts))))
    return pa.table(
        {
            "query_id": material.query_ids(layout),
            "doc_ids": listed(counts, documents.take(order)),
            "scores": listed(counts, scores.take(order)),
        }
    )


def trec_qrels(material: Material, layout: Layout, settings: ShardSettings) -> pa.Table:
    """One row a query: doc_ids and relevance of its positives; a positive without a label (a pseudo-positive) has relevance 1."""
    lines = layout.lines[layout.is_positive()]
    relevance = pc.fill_null(material.line_column("relevance", lines), 1)
    return pa.table(
        {
            "query_id": material.query_ids(layout),
            "doc_ids": listed(layout.positives, material.line_column("doc_id", lines)),
            "relevance": listed(layout.positives, relevance),
        }
    )


def run_lines(table: pa.Table) -> bytes:
    r""":func:`trec_run`'s rows as lines.

    >>> run_lines(pa.table({"query_id": ["q"], "doc_ids": [["b", "a"]], "scores": [[0.75, 0.5]]})).decode()
    'q Q0 b 1 0.75 hardmine\nq Q0 a 2 0.5 hardmine\n'

    Raises:
        InputError: an id that a TREC file cannot hold.
    """
    return _lines(
        f"{_word(query)} Q0 {_word(document)} {rank} {score:.9g} {TAG}"
        for query, documents, scores in _rows(table)
        for rank, (document, score) in enumerate(zip(documents, scores, strict=True), 1)
    )


def qrels_lines(table: pa.Table) -> bytes:
    r""":func:`trec_qrels`'s rows as lines.

    >>> qrels_lines(pa.table({"query_id": ["q"], "doc_ids": [["a"]], "relevance": [[2]]})).decode()
    'q 0 a 2\n'

    Raises:
        InputError: an id that a TREC file cannot hold.
    """
    return _lines(
        f"{_word(query)} 0 {_word(document)} {grade}"
        for query, documents, grades in _rows(table)
        for document, grade in zip(documents, grades, strict=True)
    )


def _rows(table: pa.Table) -> Iterator[list[Any]]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)  # type: ignore[return-value]


def _word(name: str) -> str:
    if len(name.split()) != 1 or name.strip() != name:
        raise InputError(
            f"id {name!r} has white space or is empty, and a TREC file parts its columns by white space",
            "take format ids, or give the ids other names in the source",
        )
    return name


def _lines(lines: Iterator[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode()
