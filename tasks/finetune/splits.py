"""Who may be trained on: queries of the split train, and those of none."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import InputError
from tasks.models.order import TRAINED as TRAINED
from tasks.models.order import is_trained as is_trained


def refuse_others(query_ids: pa.ChunkedArray, queries: pa.Table) -> None:
    """The last check before training.

    Args:
        query_ids: of the training rows.
        queries: query_id, split of all queries.

    Raises:
        InputError: a row belongs to a query of another split, or to none of the queries.
    """
    allowed = queries["query_id"].filter(is_trained(queries["split"])).combine_chunks()
    inside = pc.is_in(query_ids, value_set=allowed)
    if len(query_ids) and not pc.all(inside).as_py():
        query = query_ids.filter(pc.invert(inside))[0].as_py()
        raise InputError(f"query {query!r} is not of split {TRAINED!r}: it must not be trained on", "this is a defect: report it")
