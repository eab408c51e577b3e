"""How often the intervals of a review hold the truth: reviews are drawn again and again from pairs whose relevance is known."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from tasks.errors import InputError
from tasks.intervals import Floats, bootstrap
from tasks.truth.frame import NOT_RELEVANT, RELEVANT, Frame, Sample
from tasks.truth.review import leaks
from tasks.truth.sampling import draw, plan
from tasks.truth.settings import ReviewSettings, SamplingSettings

ESTIMATORS = ("assisted", "design", "percentile bootstrap", "calibrated teacher alone")

COVERAGE = pa.schema(
    [
        ("recipe", pa.string()),
        ("emitted", pa.int64()),
        ("leak", pa.float64()),  # the true share of relevant pairs
        ("estimator", pa.string()),  # one of ESTIMATORS
        ("reviewed", pa.float64()),  # mean number of reviewed pairs of the recipe
        ("bias", pa.float64()),
        ("rmse", pa.float64()),
        ("coverage", pa.float64()),  # share of the reviews whose interval held the leak; NULL: no interval
        ("width", pa.float64()),  # mean width of the interval
        ("below", pa.float64()),  # share of the reviews whose interval lay above the leak
        ("above", pa.float64()),  # share whose interval lay below it
    ]
)


def coverage(
    frame: Frame,
    relevant: ArrayLike,
    prior: ArrayLike,
    ranks: ArrayLike,
    seeds: Iterable[int],
    sampling: SamplingSettings | None = None,
    review: ReviewSettings | None = None,
    resamples: int = 400,
    level: float = 0.95,
) -> pa.Table:
    """Simulated reviews of one round.

    The truth that the intervals must hold is the share of relevant pairs among the emitted ones of this round.

    Args:
        frame: the emitted pairs.
        relevant: (rows,) the truth.
        prior: (rows,) rough probability that plans the sample.
        ranks: (rows,) rank of each pair.
        seeds: one review each.
        sampling: budget and strata.
        review: calibration and prior.
        resamples: of the percentile bootstrap that stands beside; 0: leave it out.
        level: confidence.

    Returns:
        :data:`COVERAGE`, a row for each recipe and estimator.
    """
    truth = np.asarray(relevant, dtype=bool)
    if len(truth) != len(frame.members):
        raise InputError(f"{len(frame.members)} pairs but {len(truth)} judgements", "judge every emitted pair")
    planned = plan(prior, ranks, frame.members, sampling)
    true = (truth.astype(np.float64) @ frame.members) / frame.members.sum(axis=0)
    found = []
    for seed in seeds:
        rows, inclusion = draw(planned, np.random.default_rng(seed).random(len(truth)))
        labels = np.where(truth[rows], RELEVANT, NOT_RELEVANT).astype(np.int8)
        sample = Sample(rows, planned.stratum[rows], inclusion, labels)
        found.append(_one(frame, sample, review or ReviewSettings(), resamples, seed, level))
    return _table(frame, true, np.array(found))


def _one(frame: Frame, sample: Sample, review: ReviewSettings, resamples: int, seed: int, level: float) -> Floats:
    """(recipes, estimators, 4): estimate, low, high, reviewed."""
    rows = []
    for at, leak in enumerate(leaks(frame, sample, review, level)):
        found = [[one.estimate, one.low, one.high] for one in (leak.assisted, leak.design)]
        found.append(_percentile(frame, sample, at, level, resamples, seed) if resamples else [np.nan] * 3)
        found.append([leak.expected, np.nan, np.nan])
        rows.append([[*one, leak.reviewed] for one in found])
    return np.array(rows)


def _percentile(frame: Frame, sample: Sample, at: int, level: float, resamples: int, seed: int) -> list[float]:
    inside = frame.members[sample.rows, at]
    weight = 1 / sample.inclusion[inside]
    clusters = np.unique(frame.clusters[sample.rows][inside], return_inverse=True)[1]
    one = bootstrap(weight * (sample.labels[inside] == RELEVANT), weight, clusters, level, resamples, seed)
    return [one.estimate, one.low, one.high]


def _table(frame: Frame, true: Floats, found: Floats) -> pa.Table:
    """From estimates of shape (seeds, recipes, estimators, 4)."""
    estimate, low, high = (found[..., part] for part in range(3))
    leak = true[:, None]
    rows = []
    for at, recipe in enumerate(frame.recipes):
        for place, estimator in enumerate(ESTIMATORS):
            error = estimate[:, at, place] - true[at]
            ends = np.isfinite(low[:, at, place]).all()
            over, under = (low > leak)[:, at, place].mean(), (high < leak)[:, at, place].mean()
            if not np.isfinite(error).all():
                continue
            rows.append(
                {
                    "recipe": recipe,
                    "emitted": int(frame.members[:, at].sum()),
                    "leak": float(true[at]),
                    "estimator": estimator,
                    "reviewed": float(found[:, at, place, 3].mean()),
                    "bias": float(error.mean()),
                    "rmse": float(np.sqrt((error**2).mean())),
                    "coverage": float(1 - over - under) if ends else None,
                    "width": float((high - low)[:, at, place].mean()) if ends else None,
                    "below": float(over) if ends else None,
                    "above": float(under) if ends else None,
                }
            )
    return pa.Table.from_pylist(rows, schema=COVERAGE)
