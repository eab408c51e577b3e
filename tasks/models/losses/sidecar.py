"""Rows from the sidecar that stands beside a training file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.errors import InputError
from tasks.models.losses.tables import Ids, Pairs, Rows, Slots

# Our name of a value to the sidecar's column.
_VALUES = {"teacher": "teacher_logits", "weight": "weights", "label": "labels"}


def rows_from_sidecar(
    table: pa.Table, *, positives: Pairs = ((), ()), documents: Ids | None = None, values: Mapping[str, Slots] | None = None
) -> Rows:
    """Rows in the order of a sidecar: query_id, positive_ids, negative_ids, teacher_logits, weights, labels, suspected_ids.

    Args:
        table: the sidecars of the training files, in their order.
        positives: known relevant pairs besides those in the rows, such as the qrels.
        documents: see :meth:`Rows.from_ids`.
        values: what the sidecar does not have, such as ``lexical``, in its layout.

    Raises:
        InputError: a row has not exactly one positive.
    """
    counts = np.asarray(pc.list_value_length(table["positive_ids"]).fill_null(0))
    if (counts != 1).any():
        row = int(np.argmax(counts != 1))
        raise InputError(f"training row {row} has {counts[row]} positives", "train on n-tuples: one positive and its negatives a row")
    query_ids = np.asarray(table["query_id"], dtype=object)
    negatives = _rectangle(table["negative_ids"], None, object)
    documents_of_rows = np.concatenate([_rectangle(table["positive_ids"], None, object), negatives], axis=1)
    width = documents_of_rows.shape[1]
    found = {name: _rectangle(table[column], np.nan, np.float32, width) for name, column in _VALUES.items()} | dict(values or {})
    lengths = np.asarray(pc.list_value_length(table["suspected_ids"]).fill_null(0))
    suspected = (np.repeat(query_ids, lengths), np.asarray(pc.list_flatten(table["suspected_ids"]), dtype=object))
    return Rows.from_ids(query_ids, documents_of_rows, positives=positives, suspected=suspected, values=found, documents=documents)


def _rectangle(column: pa.ChunkedArray, filler: object, dtype: type, width: int = 0) -> NDArray[Any]:
    """Lists as rows of equal width, filled up at their end."""
    lengths = np.asarray(pc.list_value_length(column).fill_null(0))
    made: NDArray[Any] = np.full((len(lengths), max(width, int(lengths.max(initial=0)))), filler, dtype=dtype)
    made[np.arange(made.shape[1]) < lengths[:, None]] = pc.list_flatten(column).to_numpy(zero_copy_only=False)
    return made
