"""Stage ``ensemble``: the scores of several teachers as one: the mean of their logits, and how far they disagree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tasks.runner.stage import Job, Stage, Work
from tasks.schema import PAIRS
from tasks.score.pair_store import first_of_each
from tasks.store.manifest import Part
from tasks.store.output import Output

STAGE = Stage(name="ensemble", version=1, function="tasks.score.ensemble:run", unit="pairs")

#: pairs with the standard deviation of the teachers' logits (of the n values, not n − 1)
ENSEMBLE = PAIRS.append(pa.field("disagreement", pa.float32()))


def jobs(members: Sequence[Sequence[Part]], partitions: Sequence[str]) -> list[Job]:
    """One job a query partition.

    Args:
        members: of each teacher the parts of ``score``, of all query partitions (``q0000.b000`` belongs to ``q0000``).
        partitions: names of the query partitions.
    """
    return [
        Job(
            index,
            {
                str(number): tuple(part.only("pairs.parquet") for part in parts if part.index.split(".")[0] == index)
                for number, parts in enumerate(members)
            },
            {"members": len(members)},
        )
        for index in partitions
    ]


def run(work: Work, out: Output) -> None:
    """Write ``pairs.parquet`` (:data:`ENSEMBLE`). Every teacher has scored the same pairs."""
    tables = [_sorted(work, str(number)) for number in range(int(work.job.settings["members"]))]
    first = tables[0]
    for other in tables[1:]:
        assert other.select(["query_hash", "doc_hash"]).equals(first.select(["query_hash", "doc_hash"])), "teachers score the same pairs"
    logits = np.stack([table["logit"].to_numpy().astype(np.float64) for table in tables])
    columns = {"logit": logits.mean(axis=0), "disagreement": logits.std(axis=0)}
    made = first.select(["query_hash", "doc_hash"])
    for name, values in columns.items():
        made = made.append_column(name, pa.array(values.astype(np.float32)))
    out.table("pairs.parquet", made.cast(ENSEMBLE))
    out.count(model_calls=0)


def _sorted(work: Work, role: str) -> pa.Table:
    parts = work.job.inputs[role]
    table = work.table(role, "pairs.parquet") if parts else PAIRS.empty_table()
    return first_of_each(table).sort_by([("query_hash", "ascending"), ("doc_hash", "ascending")]).combine_chunks()
