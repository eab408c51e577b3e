"""In-batch false negatives without a truth: pairs are judged by similarity stratum, since most relevant ones are among the few similar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tasks.errors import InputError, UsageError
from tasks.truth.in_batch import Batches, InBatch, Kind, PairFunction, in_batch, pairs
from tasks.truth.intervals import Codes, Floats, wilson_ends
from tasks.truth.quantiles import student_quantile
from tasks.truth.sampling import allocate

_VARIANTS = 400  # of the strata's rates, for the interval of rows


def estimated(
    given: Batches,
    similarity: PairFunction,
    judge: PairFunction,
    edges: Sequence[float],
    budget: int = 600,
    kind: Kind = "positives",
    seed: int = 0,
    level: float = 0.95,
) -> InBatch:
    """Shares without a truth: pairs are drawn in each similarity stratum, judged, and weighted with how many pairs the stratum has.

    Half of the budget is spread evenly over the strata, half by their size. The interval for pairs is Wilson's at the effective size of the
    stratified draw; the one for rows lets the strata's rates vary as Clopper and Pearson's (1934) beta distributions do, and is wide
    rather than narrow.

    Args:
        given: the batches.
        similarity: cheap, of every pair, e.g. the product of stored vectors.
        judge: probability to be relevant, of the drawn pairs only: a calibrated teacher, a review.
        edges: similarities between the strata, ascending.
        budget: pairs to judge.
        kind: other rows' positives, or their mined negatives.
        seed: of the draw.
        level: confidence.
    """
    sizes, query, doc, stratum = _drawn(given, similarity, edges, budget, kind, seed)
    judged = judge(query, doc)
    count = np.asarray(np.bincount(stratum, minlength=len(sizes)), dtype=np.float64)
    hits = np.asarray(np.bincount(stratum, judged, len(sizes)), dtype=np.float64)
    rate = np.divide(hits, count, out=np.zeros(len(sizes)), where=count > 0)
    found = in_batch(given, by_stratum(similarity, edges, rate), kind, "similarity strata", level)
    ends = {
        "pair_share": _pair_ends(sizes, count, hits, level),
        "row_share": _row_ends(_row_counts(given, similarity, edges, kind), sizes, count, hits, level, seed),
    }
    method, number = "stratified by similarity", len(judged)
    return found.model_copy(
        update={
            name: getattr(found, name).model_copy(update={"low": low, "high": high, "method": method, "n": number})
            for name, (low, high) in ends.items()
        }
    )


def by_stratum(similarity: PairFunction, edges: Sequence[float], probabilities: ArrayLike) -> PairFunction:
    """The probability of the similarity stratum that a pair lies in; ``edges`` are the lower ends of all strata but the first."""
    values = np.asarray(probabilities, dtype=np.float64)
    if len(values) != len(edges) + 1:
        raise UsageError(f"{len(edges)} edges make {len(edges) + 1} strata, {len(values)} probabilities given", "give one a stratum")

    def relevance(query: Codes, doc: Codes) -> Floats:
        return np.asarray(values[_strata(similarity(query, doc), edges)])

    return relevance


def _pair_ends(sizes: Codes, count: Floats, hits: Floats, level: float) -> tuple[float, float]:
    weight = sizes / sizes.sum()
    smooth = (hits + 0.5) / (count + 1)
    share = float(weight @ np.divide(hits, count, out=np.zeros(len(sizes)), where=count > 0))
    open_ = np.divide(1 - count / np.maximum(sizes, 1), np.maximum(count, 1))
    spread = float((weight**2 * smooth * (1 - smooth) * open_).sum())
    if not spread > 0:
        return share, share
    centre = float(weight @ smooth)
    freedom = max(int(count.sum()) - len(sizes), 1)
    return wilson_ends(share, max(centre * (1 - centre) / spread, 1.0), student_quantile(0.5 + level / 2, freedom))


def _row_ends(counts: Floats, sizes: Codes, count: Floats, hits: Floats, level: float, seed: int) -> tuple[float, float]:
    """Ends for the share of rows that are hit; ``counts`` has each row's pairs by stratum."""
    generator = np.random.default_rng(seed)
    whole = count >= sizes
    have = counts.sum(axis=1) > 0
    ends = []
    for added, tail in ((0.0, 0.5 - level / 2), (1.0, 0.5 + level / 2)):
        up, down = hits + added, count - hits + 1 - added
        drawn = generator.beta(np.maximum(up, 1e-9), np.maximum(down, 1e-9), (_VARIANTS, len(sizes)))
        drawn = np.where(whole, np.divide(hits, count, out=np.zeros(len(sizes)), where=count > 0), np.where(up > 0, drawn, 0.0))
        shares = [float(-np.expm1(counts[have] @ np.log1p(-np.minimum(rate, 1 - 1e-12))).mean()) for rate in drawn]
        ends.append(float(np.quantile(shares, tail)))
    return ends[0], ends[1]


def _row_counts(given: Batches, similarity: PairFunction, edges: Sequence[float], kind: Kind) -> Floats:
    """Pairs of each row by similarity stratum, shape (rows, strata)."""
    width = len(edges) + 1
    counts = np.zeros(len(given.query) * width)
    for row, doc in pairs(given, kind):
        counts += np.bincount(row * width + _strata(similarity(given.query[row], doc), edges), minlength=len(counts))
    return counts.reshape(-1, width)


def _strata(similarity: Floats, edges: Sequence[float]) -> Codes:
    return np.asarray(np.searchsorted(np.asarray(edges, dtype=np.float64), similarity, side="right"), dtype=np.int64)


def _drawn(
    given: Batches, similarity: PairFunction, edges: Sequence[float], budget: int, kind: Kind, seed: int
) -> tuple[Codes, Codes, Codes, Codes]:
    """Pairs in each stratum, and of the drawn pairs query, document and stratum."""
    generator = np.random.default_rng(seed)
    sizes = np.zeros(len(edges) + 1, dtype=np.int64)
    kept = np.empty((0, 4))
    for row, doc in pairs(given, kind):
        stratum = _strata(similarity(given.query[row], doc), edges)
        sizes += np.bincount(stratum, minlength=len(sizes))
        new = np.stack([stratum, generator.random(len(row)), given.query[row], doc], axis=1)
        kept = _smallest(np.concatenate([kept, new]), np.full(len(sizes), budget))
    if not len(kept):
        raise InputError("there are no in-batch pairs", "measure on more rows, or on rows with negatives")
    even = sizes.sum() / (np.maximum(sizes, 1) * len(sizes))
    kept = _smallest(kept, allocate(sizes, 1 + even, budget, least=0))
    return sizes, kept[:, 2].astype(np.int64), kept[:, 3].astype(np.int64), kept[:, 0].astype(np.int64)


def _smallest(rows: Floats, number: Codes) -> Floats:
    """Of rows (stratum, uniform number, …) so many of each stratum, the smallest numbers first."""
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    stratum = rows[order, 0].astype(np.int64)
    first = np.searchsorted(stratum, np.arange(len(number)))
    return np.asarray(rows[order[np.arange(len(order)) - first[stratum] < number[stratum]]])
