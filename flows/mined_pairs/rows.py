"""sentence-transformers' four outputs, in its order of rows: queries as they first come, positives as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.mined_pairs.found import Found, Scored
from flows.mined_pairs.request import Request
from flows.mined_pairs.texts import Texts

Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class Anchor:
    """A row (query, positive) and the query's negatives, as texts."""

    query: str
    positive: str
    score: float
    negatives: Scored


def columns_of(texts: Texts, found: Found, request: Request) -> Columns:
    """The output's columns by name, in order."""
    return _FORMATS[request.output_format](texts, found, request)


def anchors(texts: Texts, found: Found) -> Iterator[Anchor]:
    """All rows (query, positive), in order; of input that was set aside there are none."""
    for query, positives in texts.positives.items():
        negatives = [(texts.documents[one], score) for one, score in found.negatives.get(query, [])]
        for positive in positives:
            if positive in found.positives.get(query, {}):
                yield Anchor(texts.queries[query], texts.documents[positive], found.positives[query][positive], negatives)


def scores_of(texts: Texts, found: Found, request: Request) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """For the statistics: scores of all positives, of each row's negatives, and how much lower these are."""
    rows = list(anchors(texts, found))
    whole = request.output_format == "n-tuple"
    used = [row for row in rows if not whole or len(row.negatives) == request.num_negatives]
    pairs = [(score, row.score - score) for row in used for _, score in row.negatives]
    return (
        np.asarray([row.score for row in rows], np.float64),
        np.asarray([score for score, _ in pairs], np.float64),
        np.asarray([difference for _, difference in pairs], np.float64),
    )


def _triplet(texts: Texts, found: Found, request: Request) -> Columns:
    columns: Columns = {request.anchor: [], request.positive: [], "negative": [], "scores": []}
    for row in anchors(texts, found):
        for negative, score in row.negatives:
            _append(columns, row.query, row.positive, negative, [row.score, score])
    return _with_scores(columns, request)


def _n_tuple(texts: Texts, found: Found, request: Request) -> Columns:
    names = [f"negative_{number}" for number in range(1, request.num_negatives + 1)]
    columns: Columns = {name: [] for name in (request.anchor, request.positive, *names, "scores")}
    for row in anchors(texts, found):
        if len(row.negatives) == request.num_negatives:
            given = [one for one, _ in row.negatives]
            _append(columns, row.query, row.positive, *given, [row.score, *(score for _, score in row.negatives)])
    return _with_scores(columns, request)


def _labeled_pair(texts: Texts, found: Found, request: Request) -> Columns:
    last = "score" if request.output_scores else "label"
    columns: Columns = {request.anchor: [], request.positive: [], last: []}
    before = None
    waiting: Scored = []
    for row in anchors(texts, found):
        if row.query != before:
            _append_negatives(columns, before, waiting, request.output_scores)
            before, waiting = row.query, row.negatives
        _append(columns, row.query, row.positive, row.score if request.output_scores else 1)
    _append_negatives(columns, before, waiting, request.output_scores)
    return columns


def _labeled_list(texts: Texts, found: Found, request: Request) -> Columns:
    last = "scores" if request.output_scores else "labels"
    columns: Columns = {request.anchor: [], request.positive: [], last: []}
    for row in anchors(texts, found):
        if row.negatives:
            scores = [row.score, *(score for _, score in row.negatives)]
            marks = scores if request.output_scores else [1, *[0] * len(row.negatives)]
            _append(columns, row.query, [row.positive, *(one for one, _ in row.negatives)], marks)
    return columns


def _append_negatives(columns: Columns, query: str | None, negatives: Scored, scores: bool) -> None:
    for negative, score in negatives:
        _append(columns, query, negative, score if scores else 0)


def _append(columns: Columns, *values: Any) -> None:
    for column, value in zip(columns.values(), values, strict=True):
        column.append(value)


def _with_scores(columns: Columns, request: Request) -> Columns:
    return columns if request.output_scores else {name: values for name, values in columns.items() if name != "scores"}


_FORMATS: dict[str, Callable[[Texts, Found, Request], Columns]] = {
    "triplet": _triplet,
    "n-tuple": _n_tuple,
    "labeled-pair": _labeled_pair,
    "labeled-list": _labeled_list,
}
