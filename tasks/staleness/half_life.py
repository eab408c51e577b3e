"""How fast a share decays: the fit behind the audit's view ``half_life``."""

from __future__ import annotations

import math
from collections.abc import Sequence


def half_life(ages: Sequence[float], values: Sequence[float | None]) -> float | None:
    """The age at which a share has halved, if it decays exponentially.

    value = a · exp(−b · age) is fitted by least squares of ln(value) on age: b = −Σ(t − t̄)(y − ȳ) / Σ(t − t̄)² with t the ages and y the
    logarithms; the half-life is ln 2 / b. The first point is age 0: the share under the round's own checkpoint.

    Args:
        ages: in rounds or in steps.
        values: shares of the same length; those that are not known, or 0, take no part.

    Returns:
        In the ages' unit. ``None``: under two different ages, or no decay.

    >>> round(half_life([0, 1, 2], [0.8, 0.4, 0.2]), 6)
    1.0
    >>> half_life([0, 1], [0.5, 0.5]) is None
    True
    """
    points = [(float(age), math.log(value)) for age, value in zip(ages, values, strict=True) if value is not None and value > 0]
    if len({age for age, _ in points}) < 2:
        return None
    middle_age, middle = (sum(column) / len(points) for column in zip(*points, strict=True))
    spread = sum((age - middle_age) ** 2 for age, _ in points)
    decay = -sum((age - middle_age) * (value - middle) for age, value in points) / spread
    return math.log(2) / decay if decay > 0 else None
