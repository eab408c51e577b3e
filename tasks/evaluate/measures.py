"""The one module that imports ir_measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


def check_measures(names: Sequence[str], depth: int) -> None:
    """Refuse measures that cannot be computed from the first ``depth`` documents.

    Raises:
        UsageError: which one, and why.
    """
    for name in names:
        cutoff = _parsed(name).params.get("cutoff")
        if cutoff is not None and cutoff > depth:
            raise UsageError(f"evaluate.measures: {name} looks at {cutoff} documents, {depth} are ranked", f"set depth: {cutoff}")


def per_query(names: Sequence[str], qrels: pd.DataFrame, run: pd.DataFrame, queries: Sequence[str]) -> NDArray[np.float64]:
    """Values of measures.

    Args:
        names: of the measures.
        qrels: query_id, doc_id, relevance (above 0: relevant).
        run: query_id, doc_id, score; no two scores of a query are equal, so that no tie is broken.
        queries: all of them have judgements.

    Returns:
        float64, shape (queries, measures); 0 for a query without a ranked document.
    """
    import ir_measures

    parsed = [_parsed(name) for name in names]
    column = {measure: number for number, measure in enumerate(parsed)}
    row = {query: number for number, query in enumerate(queries)}
    values = np.zeros((len(queries), len(names)))
    for metric in ir_measures.iter_calc(parsed, qrels, run):
        values[row[metric.query_id], column[metric.measure]] = metric.value
    return values


def _parsed(name: str) -> Any:
    import ir_measures

    try:
        return ir_measures.parse_measure(name)
    except (NameError, SyntaxError, ValueError, AssertionError, TypeError) as error:
        raise UsageError(f"evaluate.measures: ir-measures does not know {name!r} ({error})", "as in nDCG@10, MRR@10, Recall@100") from error
