"""A calibration as a few numbers: fitted by one stage, applied by another."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from tasks.settings import Settings

FILE = "calibration.json"

#: what is said of the teacher's probabilities wherever they are shown, by what they were fitted on
ON_LABELS = "fitted on labels, which are incomplete: no count"
ON_REVIEW = "calibrated on the review"

Source = Literal["review", "held-out labels, uncalibrated for counts"]
Kind = Literal["platt", "isotonic"]
Floats = NDArray[np.float64]


class Calibration(Settings):
    """A monotone map from score to probability; JSON by pydantic.

    Platt: 1 ÷ (1 + exp(−(slope · score + intercept))). Isotonic: straight lines between knots, level outside them.
    """

    kind: Kind
    source: Source
    slope: float = 0.0
    intercept: float = 0.0
    knots: tuple[float, ...] = Field((), description="Scores, ascending.")
    values: tuple[float, ...] = Field((), description="Probabilities at the knots.")
    n: int = Field(0, ge=0, description="Labels it was fitted on.")
    n_relevant: int = Field(0, ge=0)

    @property
    def gives_counts(self) -> bool:
        """Whether sums of the probabilities estimate counts."""
        return self.source == "review"


def apply(calibration: Calibration, score: ArrayLike) -> Floats:
    """Probabilities, float64 of the scores' shape; NaN stays NaN."""
    scores = np.asarray(score, dtype=np.float64)
    if calibration.kind == "isotonic":
        return np.interp(scores, calibration.knots, calibration.values)
    return _sigmoid(calibration.slope * scores + calibration.intercept)


def _sigmoid(value: Floats) -> Floats:
    small = np.exp(-np.abs(value))
    return np.where(value >= 0, 1 / (1 + small), small / (1 + small))
