"""The stages of features as Prefect tasks."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.features import scored as table
from tasks.features import signatures as minhash
from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.store.manifest import Part, StageManifest

_signatures = stage_task(minhash.STAGE)
_scored = stage_task(table.STAGE)


def signatures(context: Context, documents: Sequence[Part]) -> StageManifest:
    """Word-shingle signatures of the documents: stage ``signatures``."""
    return _signatures(context, minhash.jobs(documents))


def scored(
    context: Context,
    sources: Sequence[str],
    candidates: Sequence[Part],
    queries: Sequence[Part],
    documents: Sequence[Part],
    pairs: Sequence[Part],
    shingles: Sequence[Part],
    fixed: Sequence[Part],
    activation: str,
) -> StageManifest:
    """Candidates with all scores and features: stage ``scored``."""
    return _scored(context, table.jobs(sources, candidates, queries, documents, pairs, shingles, fixed, activation))
