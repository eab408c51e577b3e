"""Which queries are independent of each other: those of different groups."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks.intervals import Codes, clusters
from tasks.sql import run

_SQL = """
SELECT query_id, any_value("group") AS "group" FROM numbered LEFT JOIN groups USING (query_id)
GROUP BY query_id, query_no ORDER BY query_no"""


def query_clusters(numbered: pa.Table, groups: pa.Table | None) -> Codes:
    """(queries,) code of each query's group, or of the query where it has none.

    Args:
        numbered: query_id, query_no from 0 without a gap.
        groups: query_id, group (NULL: none); none: no query has one.
    """
    if groups is None:
        return np.arange(numbered.num_rows, dtype=np.int64)
    return clusters(run(_SQL, {"numbered": numbered.select(["query_id", "query_no"]), "groups": groups.select(["query_id", "group"])}))
