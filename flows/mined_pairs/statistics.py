"""What is told of a call's outcome: sentence-transformers' table, what each filter skipped, and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from flows.mined_pairs.found import Found
from flows.mined_pairs.request import FILTERS, Request
from flows.mined_pairs.rows import scores_of
from flows.mined_pairs.texts import Texts

Floats = NDArray[np.float64]
_ROW = "{:<6} {:>14} {:>14} {:>14}"
_METRICS: dict[str, Callable[[Floats], float]] = {
    "Mean": lambda scores: float(np.mean(scores)),
    "Median": lambda scores: float(np.median(scores)),
    "Std": lambda scores: float(np.std(scores, ddof=1)) if len(scores) > 1 else float("nan"),
    "Min": lambda scores: float(np.min(scores)),
    "25%": lambda scores: float(np.quantile(scores, 0.25)),
    "50%": lambda scores: float(np.quantile(scores, 0.5)),
    "75%": lambda scores: float(np.quantile(scores, 0.75)),
    "Max": lambda scores: float(np.max(scores)),
}


def lines_of(texts: Texts, found: Found, request: Request, rows: int) -> Iterator[str]:
    """The lines to print.

    Args:
        texts: of the call.
        found: its outcome.
        request: the call.
        rows: of the output.
    """
    positive, negative, difference = scores_of(texts, found, request)
    yield _ROW.format("Metric", "Positive", "Negative", "Difference")
    yield _ROW.format("Count", f"{len(positive):,}", f"{len(negative):,}", "")
    for name, metric in _METRICS.items():
        yield _ROW.format(name, *(f"{metric(scores):.4f}" if len(scores) else "-" for scores in (positive, negative, difference)))
    left = found.candidates
    for name in FILTERS:
        skipped = found.skipped[name]
        if skipped:
            limit = request.filters.get(name)
            yield f"Skipped {skipped:,} potential negatives ({skipped / max(left, 1):.2%}) due to the {name} of {limit}."
            left -= skipped
    missing = _most(texts, found, request, len(positive)) - rows
    if missing > 0:
        yield (
            f"Could not find enough negatives for {missing} samples ({missing / (missing + rows):.2%}). "
            f"Consider adjusting the {_solutions(request)} if you'd like to find more valid negatives."
        )


def _most(texts: Texts, found: Found, request: Request, anchors: int) -> int:
    """Rows of the output if nothing were missing."""
    if request.output_format == "triplet":
        return anchors * request.num_negatives
    if request.output_format == "labeled-pair":
        return anchors + len(texts.queries) * request.num_negatives
    return anchors


def _solutions(request: Request) -> str:
    names = ["range_max", *(["range_min"] if request.range_min else []), *(name for name in FILTERS[:3] if name in request.filters)]
    return f"{', '.join(names[:-1])} and {names[-1]} parameters" if len(names) > 1 else f"{names[0]} parameter"
