"""The measuring of false negatives as Prefect tasks. No model runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from tasks.runner.prefect_task import stage_task
from tasks.runner.runner import Context
from tasks.store.manifest import Part, StageManifest
from tasks.truth import calibrate as calibration
from tasks.truth import measure as measuring
from tasks.truth.measure import Review as Review
from tasks.truth.measure import Vectors as Vectors
from tasks.truth.settings import CalibrationSettings, EstimateSettings

_calibrate = stage_task(calibration.STAGE)
_measure = stage_task(measuring.STAGE)


def calibrate(
    context: Context,
    candidates: Sequence[Part],
    scores: Sequence[Part],
    queries: Sequence[Part],
    sources: Sequence[str],
    depth: int,
    held_out: Literal["all"] | Mapping[str, float | int] = "all",
    settings: CalibrationSettings | None = None,
) -> StageManifest:
    """From the teacher's logits to probabilities: stage ``calibrate``, one part. See :func:`tasks.truth.calibrate.jobs`."""
    return _calibrate(context, calibration.jobs(candidates, scores, queries, sources, depth, held_out, settings))


def measure(
    context: Context,
    scored: Sequence[Part],
    decided: Sequence[Part],
    queries: Sequence[Part],
    sources: Sequence[str],
    settings: EstimateSettings | None = None,
    probes: Sequence[Part] = (),
    evidence: Sequence[Part] = (),
    truth: Part | None = None,
    reviews: Sequence[Review] = (),
    can_tell: bool = True,
    dataset: str = "",
    vectors: Vectors | None = None,
) -> StageManifest:
    """The false negatives of one selection: stage ``measure``, one part. See :func:`tasks.truth.measure.jobs`."""
    return _measure(
        context, measuring.jobs(scored, decided, queries, sources, settings, probes, evidence, truth, reviews, can_tell, dataset, vectors)
    )
