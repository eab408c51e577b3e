"""The stage ``gate``: counts of violations in a query partition. It writes no file; its facts are in the manifest."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from tasks.runner.stage import Job, Stage
from tasks.settings import Settings
from tasks.store.manifest import Part

STAGE = Stage(name="gate", version=1, function="tasks.gate.inspect:run", unit="queries")


class GateSettings(Settings):
    """What the gate holds a selection to."""

    num_negatives: int = Field(5, ge=0, description="Negatives asked for in a row; fewer are reported, not a violation.")
    duplicates: bool = Field(True, description="Whether copies of positives and of the query must be gone, as the recipe's rules say.")
    tolerance: float = Field(1e-3, ge=0, description="How far, relative to the score if that is over 1, a worse rank may score higher.")
    examples: int = Field(5, ge=0, description="Examples kept of each kind of violation.")


def jobs(
    selection_id: str,
    select: Sequence[Part],
    scored: Sequence[Part],
    queries: Sequence[Part],
    documents: Sequence[Part],
    settings: GateSettings,
) -> list[Job]:
    """One job a query partition.

    Args:
        selection_id: which selection.
        select: parts with rows.parquet and decisions.parquet, in the order of the query partitions.
        scored: parts with scored.parquet, likewise.
        queries: parts with queries.parquet, likewise.
        documents: all document partitions.
        settings: what to hold the selection to.
    """
    return [
        Job(
            index=chosen.index,
            inputs={
                "select": (chosen.only("rows.parquet", "decisions.parquet"),),
                "scored": (scores.only("scored.parquet"),),
                "queries": (query.only("queries.parquet"),),
                "documents": tuple(part.only("docs.parquet") for part in documents),
            },
            settings={"selection": selection_id, **settings.model_dump(mode="json")},
            units=query.file("queries.parquet").rows or 0,
        )
        for chosen, scores, query in zip(select, scored, queries, strict=True)
    ]
