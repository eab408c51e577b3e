"""Counts of a batch's rows as shares, as the stage makes them."""

from dataclasses import dataclass

import numpy as np

from tasks.intervals import Interval, proportion
from tasks.truth.in_batch import row_counts


@dataclass(frozen=True)
class Shares:
    pairs: int
    pair_share: Interval
    row_share: Interval


def shares(given, relevance, kind="positives"):
    """Of the pairs, and of the rows that share their batch with another document; intervals over batches."""
    counts = row_counts(given, relevance, kind)
    have = (counts.pairs > 0).astype(np.float64)
    pairs = proportion(counts.relevant, counts.pairs, given.batch)
    return Shares(int(counts.pairs.sum()), pairs, proportion(counts.hit * have, have, given.batch))
