"""Stage ``sampled``: some queries of the scored table, or of a feature beside it: what is swept over a recipe's settings."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tasks.runner.stage import Job, Stage, Work
from tasks.store.keys import digest
from tasks.store.manifest import Part
from tasks.store.output import Output

STAGE = Stage(name="sampled", version=1, function="tasks.features.sampled:run", unit="candidates")


def jobs(scored: Sequence[Part], queries: Sequence[str], feature: Sequence[Part] | None = None) -> list[Job]:
    """One job a part of the scored table.

    Args:
        scored: parts of ``scored``.
        queries: ids of the queries to keep.
        feature: parts of a feature, in the same order: its rows are taken instead of the scored table's.
    """
    wanted = sorted(queries)
    return [
        Job(
            index=part.index,
            inputs={"scored": (part.only("scored.parquet"),)} | ({} if feature is None else {"feature": (feature[place],)}),
            settings={"queries": digest(wanted)},
            options={"queries": wanted},
            units=part.file("scored.parquet").rows or 0,
        )
        for place, part in enumerate(scored)
    ]


def run(work: Work, out: Output) -> None:
    """Write ``scored.parquet``, or ``features.parquet`` of a feature: the rows of those queries."""
    wanted = pa.array(work.job.options["queries"], pa.string())
    if "feature" in work.job.inputs:
        name, table = "features.parquet", work.table("feature", "features.parquet")
        query = work.table("scored", "scored.parquet", ["query_id"])["query_id"]
    else:
        name, table = "scored.parquet", work.table("scored", "scored.parquet")
        query = table["query_id"]
    out.table(name, table.filter(pc.is_in(query, value_set=wanted)))
    partial = work.job.inputs["scored"][0].meta.get("partial")
    out.meta |= {"partial": partial} if partial else {}
    out.count(model_calls=0)
    work.report(table.num_rows)
