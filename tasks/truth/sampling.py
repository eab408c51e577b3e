"""Which pairs a human reviews: a stratified sample that serves all recipes of a round at once, with known inclusion probabilities.

Strata are cells of teacher score × rank × the set of recipes that emitted the pair. The wanted rate of a row is Neyman's (1934) for several
estimates at once: proportional to √(σ² Σ_r c_r ÷ N_r²) over the recipes r with N_r pairs that emitted it, σ² = p(1 − p) the label's
variance as the teacher sees it, and c_r the inverse of the variance that recipe r gets, so that each recipe's relative precision counts
the same. Cells of nearly the same wanted rate are merged until each stratum expects a few draws; inside a stratum every pair has the same
probability. The draw is by a column of hashed uniform numbers. Pairs of one query are correlated; the estimators sum over queries for that
reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tasks.errors import InputError, UsageError
from tasks.intervals import Codes, Floats
from tasks.truth.settings import SamplingSettings

_ROUNDS = 8  # of the fixed point between rates and variances


@dataclass(frozen=True)
class Plan:
    """How many pairs are drawn from which stratum.

    Args:
        stratum: (rows,) stratum of each row of the frame.
        sizes: (strata,) rows in each.
        draws: (strata,) rows to draw from each.
    """

    stratum: Codes
    sizes: Codes
    draws: Codes

    @property
    def inclusion(self) -> Floats:
        """(rows,) probability of each row to be reviewed."""
        return np.asarray((self.draws / self.sizes)[self.stratum])


def plan(prior: ArrayLike, ranks: ArrayLike, members: NDArray[np.bool_], settings: SamplingSettings | None = None) -> Plan:
    """Strata and their draws.

    Args:
        prior: (rows,) rough probability that the pair is relevant (a teacher's sigmoid or calibrated score); NaN: unknown.
        ranks: (rows,) rank from 1; NaN where the source did not retrieve the pair.
        members: (rows, recipes) which recipe emitted the pair; each row by one recipe at least.
        settings: budget, bins and floors.

    Raises:
        InputError: no rows, a row that no recipe emitted, or a prior outside [0, 1].
    """
    settings = settings or SamplingSettings()
    likely = _checked(prior, members)
    wanted = rates(likely, members, settings.budget, settings.floor)
    if settings.budget >= len(likely):
        every = np.zeros(len(likely), dtype=np.int64)
        return Plan(stratum=every, sizes=np.array([len(likely)]), draws=np.array([len(likely)]))
    stratum = _merged(_cells(likely, np.asarray(ranks, dtype=np.float64), members, settings), wanted, settings.min_draws)
    sizes = np.bincount(stratum)
    spreads = np.bincount(stratum, wanted) / sizes
    return Plan(stratum=stratum, sizes=sizes, draws=allocate(sizes, spreads, settings.budget))


def rates(prior: Floats, members: NDArray[np.bool_], budget: int, floor: float) -> Floats:
    """Wanted inclusion probability of each row, shape (rows,), at most 1; their sum is at most the budget."""
    spread = np.maximum(prior * (1 - prior), floor)
    shares = members / np.maximum(members.sum(axis=0), 1) ** 2.0
    care = np.ones(members.shape[1])
    wanted = np.ones(len(prior))
    for _ in range(_ROUNDS):
        need = np.sqrt(spread * (shares @ care))
        wanted = np.minimum(budget * need / need.sum(), 1.0)
        variances = (spread / wanted) @ shares  # of draws with replacement, so that no recipe is reviewed in full for its own sake
        care = np.divide(1.0, variances, out=np.zeros_like(variances), where=variances > 0)
    return wanted


def allocate(sizes: ArrayLike, spreads: ArrayLike, budget: int, least: int = 2) -> Codes:
    """Neyman's allocation with a floor: draws in proportion to size × spread, at least ``least`` and at most all of a stratum.

    Args:
        sizes: (strata,) rows.
        spreads: (strata,) standard deviation of what is estimated, on any scale.
        budget: draws in all.
        least: draws from each stratum, or all of a smaller one; two give a variance.

    Returns:
        (strata,) int64; sums to the budget, or to all rows if there are fewer.

    Raises:
        UsageError: the budget cannot give every stratum its least.

    >>> allocate([100, 100, 1], [0.3, 0.1, 0.5], 41).tolist()
    [30, 10, 1]
    """
    rows = np.asarray(sizes, dtype=np.int64)
    bottom, budget = np.minimum(rows, least), min(budget, int(rows.sum()))
    if bottom.sum() > budget:
        raise UsageError(f"{budget} draws are too few for {len(rows)} strata", f"review {int(bottom.sum())} pairs, or use fewer strata")
    weight = np.maximum(rows * np.asarray(spreads, dtype=np.float64), 1e-300)
    given, open_ = bottom.astype(np.float64), np.ones(len(rows), dtype=bool)
    for _ in range(2 * len(rows) + 1):
        left = budget - given[~open_].sum()
        share = np.where(open_, weight * left / max(weight[open_].sum(), 1e-300), given)
        bounded = np.clip(share, bottom, rows)
        excess = (bounded - share)[open_].sum()
        fixed = open_ & ((bounded > share) if excess >= 0 else (bounded < share))
        given = bounded
        if abs(excess) < 1e-9 or not fixed.any():
            break
        open_ &= ~fixed
    return _whole(given, budget, rows)


def draw(plan_: Plan, uniform: ArrayLike) -> tuple[Codes, Floats]:
    """The sample: in each stratum the rows with the smallest uniform numbers.

    Args:
        plan_: strata and draws.
        uniform: (rows,) hashed uniform numbers, one a row; the earlier row wins a tie.

    Returns:
        rows of the frame, ascending, and their inclusion probabilities.
    """
    numbers = np.asarray(uniform, dtype=np.float64)
    if len(numbers) != len(plan_.stratum):
        raise InputError(f"{len(plan_.stratum)} rows but {len(numbers)} uniform numbers", "give one number a row")
    order = np.lexsort((numbers, plan_.stratum))
    starts = np.concatenate([[0], np.cumsum(plan_.sizes)[:-1]])
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - starts[plan_.stratum[order]]
    rows = np.flatnonzero(place < plan_.draws[plan_.stratum])
    return rows, plan_.inclusion[rows]


def _checked(prior: ArrayLike, members: NDArray[np.bool_]) -> Floats:
    likely = np.asarray(prior, dtype=np.float64)
    if not len(likely):
        raise InputError("there are no emitted pairs to review", "select negatives first")
    if members.shape[0] != len(likely) or not members.any(axis=1).all():
        raise InputError("some rows were emitted by no recipe", "give the union of the recipes' negatives")
    known = np.isfinite(likely)
    if (likely[known] < 0).any() or (likely[known] > 1).any():
        raise InputError("a prior is not between 0 and 1", "give the teacher's sigmoid or calibrated score, not its logit")
    return np.where(known, likely, likely[known].mean() if known.any() else 0.5)


def _cells(prior: Floats, ranks: Floats, members: NDArray[np.bool_], settings: SamplingSettings) -> Codes:
    """(rows, 3): score bin, rank bin and the set of recipes as codes."""
    edges = np.quantile(prior, np.linspace(0, 1, settings.score_bins + 1)[1:-1])
    beyond = np.where(np.isfinite(ranks), ranks, np.inf)
    packed: Any = np.packbits(members, axis=1)
    return np.stack(
        [
            np.searchsorted(edges, prior),
            np.searchsorted(np.asarray(settings.rank_edges, dtype=np.float64), beyond),
            np.unique(packed, axis=0, return_inverse=True)[1].ravel(),
        ],
        axis=1,
    ).astype(np.int64)


def _merged(cells: Codes, wanted: Floats, least: int) -> Codes:
    """Strata: cells in the order of score bin, then wanted rate, joined until ``least`` draws are expected."""
    distinct, cell = np.unique(cells, axis=0, return_inverse=True)
    cell = cell.ravel()
    expected = np.bincount(cell, wanted)
    order = np.lexsort((expected / np.bincount(cell), distinct[:, 0]))
    stratum = np.zeros(len(distinct), dtype=np.int64)
    current, filled = 0, 0.0
    for one in order:
        if filled >= least:
            current, filled = current + 1, 0.0
        stratum[one] = current
        filled += expected[one]
    if filled < least and current:
        stratum[stratum == current] = current - 1
    return np.asarray(stratum[cell], dtype=np.int64)


def _whole(given: Floats, budget: int, rows: Codes) -> Codes:
    """Whole numbers by largest remainder; the earlier stratum wins a tie."""
    draws = np.floor(given + 1e-9).astype(np.int64)
    remainder = np.where(draws < rows, given - draws, -1.0)
    draws[np.argsort(-remainder, kind="stable")[: budget - int(draws.sum())]] += 1
    return draws
