"""The bootstrap over queries (Efron 1979): what other queries of the kind would have given. Pairs of a query are alike, so it is the unit.

Equal seeds draw the same units whatever is summed, so that two recipes or checkpoints are compared on the same draws.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CLUSTERS = 4096  # at most so many units are resampled; more queries are put together in turn
_CELLS = 4_200_000  # of a block of weights: 1000 resamples of CLUSTERS units are one


def in_clusters(values: Floats) -> Floats:
    """Rows summed into at most :data:`CLUSTERS` rows, in turn."""
    if len(values) <= CLUSTERS:
        return values
    sums = np.zeros((CLUSTERS, *values.shape[1:]))
    np.add.at(sums, np.arange(len(values)) % CLUSTERS, values)
    return sums


def resampled(sums: Floats, resamples: int, seed: int) -> Floats:
    """Totals over resampled units, shape (resamples, columns).

    Args:
        sums: of each unit, shape (units, columns).
        resamples: how often as many units are drawn as there are, with replacement.
        seed: of the drawing.
    """
    units = len(sums)
    block = max(1, min(resamples, _CELLS // max(units, 1)))
    if block == resamples:
        return np.asarray(_weights(units, resamples, seed) @ sums)
    generator = np.random.default_rng(seed)  # memory stays bounded: in blocks, of the same stream
    parts = [_drawn(generator, units, min(block, resamples - start)) @ sums for start in range(0, resamples, block)]
    return np.concatenate(parts)


@lru_cache(maxsize=4)
def _weights(units: int, resamples: int, seed: int) -> Floats:
    """How often each unit is drawn in each resample: shape (resamples, units)."""
    drawn = _drawn(np.random.default_rng(seed), units, resamples)
    drawn.setflags(write=False)
    return drawn


def _drawn(generator: np.random.Generator, units: int, resamples: int) -> Floats:
    return generator.multinomial(units, np.full(units, 1 / units), size=resamples).astype(np.float64)
