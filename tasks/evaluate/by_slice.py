"""Means of the measures on slices of the queries: dataset, language, length, number of positives, difficulty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tasks.evaluate.intervals import Values, intervals
from tasks.evaluate.settings import EvaluateSettings
from tasks.evaluate.stage import SLICES
from tasks.intervals import Codes
from tasks.runner.stage import Work
from tasks.slices import SMALL, slices
from tasks.sql import run


def sliced_queries(work: Work, asked: pa.Table, qrels: pd.DataFrame, kept: Sequence[str]) -> pa.Table:
    """The slices of the queries that are measured on, as :func:`tasks.slices.slices` gives them.

    Args:
        work: the job; its scored parts, where there are some, tell how hard a query is.
        asked: query_id, text, language.
        qrels: query_id of each positive.
        kept: the queries.
    """
    table = asked.select(["query_id", "text", "language"]).filter(pc.is_in(asked["query_id"], value_set=pa.array(kept, pa.string())))
    name = str(work.job.settings["dataset"])
    table = table.append_column("dataset", pa.repeat(name, table.num_rows) if name else pa.nulls(table.num_rows, pa.string()))
    positives = qrels["query_id"].value_counts()
    table = table.append_column("positives", pa.array([int(positives[query]) for query in table["query_id"].to_pylist()]))
    if "scored" not in work.job.inputs:
        return slices(table)
    scored = work.table("scored", "scored.parquet", ["query_id", "is_positive", "planted", "dense_rank"])
    ranked = run(
        """WITH best AS (SELECT query_id, min(dense_rank) AS positive_rank FROM scored WHERE is_positive OR planted GROUP BY query_id)
           SELECT asked.*, positive_rank FROM asked LEFT JOIN best USING (query_id)""",
        {"asked": table, "scored": scored},
    )
    return slices(ranked)


def by_slice(sliced: pa.Table, kept: Sequence[str], values: Values, groups: Codes, settings: EvaluateSettings) -> pa.Table:
    """:data:`tasks.evaluate.stage.SLICES`, each with its interval over the slice's queries.

    Args:
        sliced: query_id, slice, value, in the slices' order.
        kept: the queries.
        values: shape (queries, measures).
        groups: (queries,) code of each one's group.
        settings: measures, resamples, confidence, seed.
    """
    row = {query: number for number, query in enumerate(kept)}
    members: dict[tuple[str, str], list[int]] = {}
    columns = (sliced[name].to_pylist() for name in ("slice", "value", "query_id"))
    for name, value, query in zip(*columns, strict=True):
        members.setdefault((name, value), []).append(row[query])
    made = []
    for (name, value), rows in sorted(members.items(), key=lambda item: item[0][0] != "all"):
        mine = np.sort(rows)
        found = intervals(values[mine], settings.resamples, settings.confidence, settings.seed, groups[mine])
        for measure, one in zip(settings.measures, found, strict=True):
            about = {"slice": name, "value_of_slice": "" if name == "all" else value, "measure": measure, "queries": len(rows)}
            made.append({**about, "mean": one.mean, "low": one.low, "high": one.high, "small": len(rows) < SMALL})
    return pa.Table.from_pylist(made, SLICES)
