"""Facts about rounds and stages, from manifests: the snapshot's tables that hold no pairs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa

from tasks.audit.records import RoundRecord, StageRef, stage_refs
from tasks.store.manifest import StageManifest, read_stage
from tasks.store.storage import Storage

Manifests = Mapping[StageRef, StageManifest | None]

ROUND = [("dataset", pa.string()), ("round", pa.int32())]

ROUNDS = pa.schema(
    [
        *ROUND,
        ("candidate_set_id", pa.string()),
        ("selection_id", pa.string()),
        ("recipe", pa.string()),
        ("created", pa.string()),
        ("documents", pa.int64()),
        ("queries", pa.int64()),
        ("candidates", pa.int64()),
        ("training_rows", pa.int64()),
        ("num_negatives", pa.int32()),
        ("pairs_here", pa.bool_()),
        ("sampled", pa.float64()),
        ("settings", pa.string()),
    ]
)

STAGES = pa.schema(
    [
        *ROUND,
        ("stage", pa.string()),
        ("key", pa.string()),
        *((name, pa.int64()) for name in ("partitions", "rows", "bytes")),
        ("seconds", pa.float64()),
        ("model_calls", pa.int64()),
        ("cache_hits", pa.int64()),
    ]
)


OUTLAYS = pa.schema(
    [
        *ROUND,
        ("stage", pa.string()),
        ("planned_seconds", pa.float64()),
        ("seconds", pa.float64()),
        ("planned_calls", pa.int64()),
        ("model_calls", pa.int64()),
        ("planned_bytes", pa.int64()),
        ("bytes", pa.int64()),
    ]
)


def read_manifests(storage: Storage, rounds: Sequence[RoundRecord]) -> Manifests:
    """The manifests of all stages of some rounds, each read once; ``None`` where one is gone."""
    refs = dict.fromkeys(ref for record in rounds for ref in stage_refs(record))
    return {ref: read_stage(storage, ref.stage, ref.key, check_files=False) for ref in refs}


def count_rows(manifest: StageManifest | None, name: str) -> int:
    """Rows in all files of one name."""
    return sum(file.rows or 0 for part in manifest.parts for file in part.files if file.name == name) if manifest else 0


def round_rows(
    rounds: Sequence[RoundRecord],
    manifests: Manifests,
    here: Collection[tuple[str, int, str]],
    share: float,
) -> list[dict[str, Any]]:
    """One row a selection, in :data:`ROUNDS`' columns.

    Args:
        rounds: the rounds.
        manifests: of all their stages.
        here: (dataset, number, selection_id) of the selections whose pairs are in the snapshot.
        share: how much of the rejected and undrawn pairs is there.
    """
    rows = []
    for record in rounds:
        found = {ref.stage: manifests[ref] for ref in record.stages}
        for chosen in record.selections:
            rows.append(
                {
                    "dataset": record.dataset,
                    "round": record.number,
                    "candidate_set_id": record.candidate_set_id,
                    "selection_id": chosen.selection_id,
                    "recipe": chosen.recipe,
                    "created": record.created,
                    "documents": count_rows(found.get("documents"), "docs.parquet"),
                    "queries": count_rows(found.get("queries"), "queries.parquet"),
                    "candidates": count_rows(found.get("scored"), "scored.parquet"),
                    "training_rows": count_rows(manifests[chosen.select], "rows.parquet"),
                    "num_negatives": chosen.num_negatives,
                    "pairs_here": (record.dataset, record.number, chosen.selection_id) in here,
                    "sampled": share,
                    "settings": json.dumps(record.settings, sort_keys=True),
                }
            )
    return rows


def stage_rows(rounds: Sequence[RoundRecord], manifests: Manifests) -> list[dict[str, Any]]:
    """One row for each stage of each round, in :data:`STAGES`' columns."""
    rows = []
    for record in rounds:
        for ref in stage_refs(record):
            manifest = manifests[ref]
            if manifest is not None:
                rows.append(
                    {
                        "dataset": record.dataset,
                        "round": record.number,
                        "stage": ref.stage,
                        "key": ref.key,
                        "partitions": len(manifest.parts),
                        "rows": manifest.rows,
                        "bytes": manifest.bytes,
                        "seconds": manifest.seconds,
                        "model_calls": manifest.counters.get("model_calls", 0),
                        "cache_hits": manifest.counters.get("cache_hits", 0),
                    }
                )
    return rows


def outlay_rows(rounds: Sequence[RoundRecord]) -> list[dict[str, Any]]:
    """One row for each stage of each round that was planned, in :data:`OUTLAYS`' columns."""
    return [{"dataset": record.dataset, "round": record.number, **one.model_dump()} for record in rounds for one in record.outlays]
