"""The stage ``shards``: one format of one selection, a query partition at a time.

Files: ``data/train-<partition>-<number>.parquet`` (or ``.jsonl``) and, row-aligned, ``sidecar/train-<partition>-<number>.parquet``.
Rows of another training stage or epoch than (main, 0) go to ``data-<stage>/`` (``data-<stage>-<epoch>/``), their sidecar
to ``sidecar-…`` likewise. A partition without rows writes no file. Only rows of queries that may be trained on are written
(:func:`tasks.models.order.is_trained`), and of those of ``ShardSettings.split``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tasks.runner.stage import Job, Stage
from tasks.shards.settings import ShardSettings
from tasks.store.keys import digest
from tasks.store.manifest import Part

STAGE = Stage(name="shards", version=2, function="tasks.shards.write:run", unit="rows", folder="data/shards/{folder}")


def jobs(
    format_name: str,
    selection_id: str,
    select: Sequence[Part],
    scored: Sequence[Part],
    queries: Sequence[Part],
    documents: Sequence[Part],
    settings: ShardSettings,
) -> list[Job]:
    """One job a query partition.

    All partitions' files lie in one folder, so each one's key depends on the whole set: a folder never mixes two sets.

    Args:
        format_name: one of :data:`tasks.shards.formats.registry.FORMATS`.
        selection_id: which selection.
        select: parts with rows.parquet and decisions.parquet, in the order of the query partitions.
        scored: parts with scored.parquet, likewise.
        queries: parts with queries.parquet, likewise.
        documents: all document partitions.
        settings: what else decides the files' content.
    """
    base = [
        Job(
            index=chosen.index,
            inputs={
                "select": (chosen.only("rows.parquet", "decisions.parquet"),),
                "scored": (scores.only("scored.parquet"),),
                "queries": (query.only("queries.parquet"),),
                "documents": tuple(part.only("docs.parquet") for part in documents),
            },
            settings={"format": format_name, "selection": selection_id, **settings.model_dump(mode="json")},
            units=chosen.file("rows.parquet").rows or 0,
        )
        for chosen, scores, query in zip(select, scored, queries, strict=True)
    ]
    whole = digest([job.key(STAGE) for job in base])
    folder = f"{selection_id[:12]}-{format_name}-{whole[:8]}"
    return [dataclasses.replace(job, settings={**job.settings, "set": whole}, options={"folder": folder}) for job in base]


def folder_of(jobs: Sequence[Job]) -> str:
    """The folder under the root in which the training files lie: what a trainer is pointed to."""
    return f"data/shards/{jobs[0].options['folder']}/data"
