"""How often 95 % intervals of a leak cover it: Wilson over clusters beside the percentile bootstrap (docs/decisions/0016-intervals.md).

    python -m tests.bench.intervals [--simulations 1000]

Each query has one to five negatives. A query's own rate is drawn from a beta distribution about the true rate; its pairs are then
correlated by 1 ÷ (a + b + 1) of that distribution, as negatives of one query are. Prints a Markdown table. Certainty: a simulation; real
queries need not be beta.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np

from tasks.intervals import Interval, bootstrap, proportion

RATES, QUERIES, CORRELATIONS = (0.005, 0.02, 0.1, 0.3), (30, 100, 400), (0.05, 0.3)
_RESAMPLES = 400


def drawn(generator: np.random.Generator, rate: float, queries: int, correlation: float) -> tuple[np.ndarray, np.ndarray]:
    """(queries,) leaks and negatives of one simulated recipe."""
    scale = 1 / correlation - 1
    negatives = generator.integers(1, 6, queries)
    return generator.binomial(negatives, generator.beta(rate * scale, (1 - rate) * scale, queries)), negatives


def covers(found: Interval, rate: float) -> bool:
    """Whether the truth lies inside."""
    return found.low <= rate <= found.high


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=1000, help="of each case")
    given = parser.parse_args()
    lines = [
        "| rate | queries | correlation | Wilson over clusters | width | percentile bootstrap | width |",
        "|---|---|---|---|---|---|---|",
    ]
    for rate, queries, correlation in product(RATES, QUERIES, CORRELATIONS):
        generator = np.random.default_rng(0)
        held, width = np.zeros(2), np.zeros(2)
        for number in range(given.simulations):
            leaks, negatives = drawn(generator, rate, queries, correlation)
            both = proportion(leaks, negatives), bootstrap(leaks, negatives, resamples=_RESAMPLES, seed=number)
            held += [covers(one, rate) for one in both]
            width += [one.high - one.low for one in both]
        shares, widths = held / given.simulations, 100 * width / given.simulations
        cells = " | ".join(f"{share:.3f} | {wide:.1f}" for share, wide in zip(shares, widths, strict=True))
        lines.append(f"| {100 * rate:g} % | {queries} | {correlation:g} | {cells} |")
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
