"""The release gate as a Prefect task."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.gate.stage import STAGE, GateSettings, jobs
from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.store.manifest import Part, StageManifest

_gate = stage_task(STAGE)


def gate(
    context: Context,
    selection_id: str,
    select: Sequence[Part],
    scored: Sequence[Part],
    queries: Sequence[Part],
    documents: Sequence[Part],
    settings: GateSettings,
) -> StageManifest:
    """Look for violations in a selection: stage ``gate``."""
    return _gate(context, jobs(selection_id, select, scored, queries, documents, settings))
