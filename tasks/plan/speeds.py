"""How fast a machine is: what a calibration measures and a plan multiplies with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from tasks.models.batches import plan
from tasks.plan.workload import Inputs

_SIMULATED = 16_384  # inputs whose batches are formed; more of them only repeat the sample


class Curve(BaseModel):
    """Seconds for each token of a batch, padding included, by the length of its rows: attention makes long rows dearer.

    ``lengths`` ascend; between two of them the seconds are interpolated, beyond them they stay. ``start``: seconds until the model's
    first batch, that each worker pays once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lengths: tuple[float, ...]
    seconds: tuple[float, ...]
    start: float = 0.0

    def at(self, lengths: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.float64]:
        """Seconds a token for each length."""
        found: NDArray[np.float64] = np.interp(lengths, self.lengths, self.seconds)
        return found


class Speeds(BaseModel):
    """What a plan is made with; of models that the run does not have there is nothing.

    ``imports``: seconds for torch and its like, once a worker. ``resident``: bytes of a process that holds the models.
    ``product``: floating-point operations a second of exact search, ``scan``: of the clusters of an ivf index; both on all threads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    imports: float
    resident: int
    documents: Curve
    queries: Curve
    fixed: Curve | None = None
    teacher: Curve | None = None
    training: Curve | None = None
    product: float
    scan: float


def model_seconds(inputs: Inputs, count: int, curve: Curve) -> float:
    """Seconds to run a model over ``count`` inputs of one partition, in the batches that :mod:`tasks.models.batches` forms of them.

    The sample's lengths stand for all: they are repeated up to 16,384 inputs, and more than that in proportion.
    """
    return _over_batches(inputs, count, curve)[0]


def padded_tokens(inputs: Inputs, count: int) -> int:
    """Tokens of those batches, padding and filled-up rows included."""
    return round(_over_batches(inputs, count, Curve(lengths=(1.0,), seconds=(1.0,)))[0])


def _over_batches(inputs: Inputs, count: int, curve: Curve) -> tuple[float, int]:
    if count <= 0 or len(inputs.lengths) == 0:
        return 0.0, 0
    simulated = min(count, _SIMULATED)
    ordered = np.sort(inputs.lengths)
    lengths = ordered[(np.arange(simulated) * len(ordered)) // simulated] if simulated < len(ordered) else np.resize(ordered, simulated)
    batches = plan(lengths, inputs.budget, inputs.limit)
    rows = np.array([batch.rows for batch in batches], dtype=np.int64)
    widths = np.array([batch.length for batch in batches], dtype=np.int64)
    seconds = float((rows * widths * curve.at(widths)).sum())
    return seconds * count / simulated, len(batches)
