"""Planted positives: labelled positives that a recipe was not told of, and how many of them it emitted as negatives.

That share is *survival*, P(emitted | relevant and retrieved). It is not the leak: for that, how many unlabelled relevant documents a query
has must come from a review or a calibrated teacher. Labelled positives are easier than unlabelled ones, so survival is also weighted over
strata of rank × teacher score to the mix of the likely relevant unlabelled candidates (post-stratification; Holt and Smith 1979). What
differs inside a stratum stays as a bias that the interval does not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from tasks.errors import InputError, UsageError
from tasks.intervals import (
    CORRELATION,
    PRIOR_WEIGHT,
    Codes,
    Floats,
    Interval,
    by_cluster,
    clusters,
    codes,
    effective_size,
    mixed_size,
    proportion,
    variance,
    wilson_ends,
)
from tasks.quantiles import student_quantile
from tasks.settings import Settings
from tasks.truth.settings import SurvivalSettings


class Stratum(Settings):
    """Planted pairs of like rank and teacher score."""

    cells: tuple[str, ...] = Field(description="Rank and score bins; several where they were merged.")
    planted: int
    emitted: int
    target: float | None = Field(description="Share of the likely relevant unlabelled candidates that lies here; none: no target.")
    queries: int = Field(description="Queries with a planted pair here.")
    rate: Interval


class Survival(Settings):
    """Planted positives of one recipe. This is survival, not leak."""

    recipe: str
    raw: Interval
    weighted: Interval | None = Field(description="To the unlabelled candidates' mix; none: no target was given.")
    strata: tuple[Stratum, ...] = Field(description="In winding order of rank and score; without a target too.")
    unplanted: float = Field(0.0, description="Share of the target in cells without a planted pair, judged by their neighbours.")

    @property
    def merged(self) -> tuple[str, ...]:
        """Which cells had too few planted pairs and were joined."""
        return tuple(" + ".join(one.cells) for one in self.strata if len(one.cells) > 1)


def survival(
    planted: pa.Table,
    emitted: NDArray[np.bool_],
    recipe: str,
    target: pa.Table | None = None,
    settings: SurvivalSettings | None = None,
    level: float = 0.95,
) -> Survival:
    """Survival of one recipe.

    Args:
        planted: query_id, rank (NULL: not retrieved; such rows do not count), score (NULL: no teacher), optional group.
        emitted: (rows,) whether the recipe emitted the pair as a negative.
        recipe: its name.
        target: rank, score, weight: unlabelled candidates, each weighted with its probability to be relevant.
        settings: bins, and the fewest planted pairs of a stratum.
        level: confidence.

    Raises:
        InputError: no planted pair was retrieved, or the target weighs nothing.
    """
    settings = settings or SurvivalSettings()
    retrieved = planted["rank"].is_valid().to_numpy(zero_copy_only=False)
    planted, outcome = planted.filter(pa.array(retrieved)), np.asarray(emitted, dtype=np.float64)[retrieved]
    if not planted.num_rows:
        raise InputError("no planted positive was retrieved", "plant more (queries with two positives or more), or retrieve deeper")
    together = clusters(planted)
    raw = proportion(outcome, np.ones(len(outcome)), together, level)
    cells = _Cells.of(planted, target if target is not None else _alike(planted), settings)
    shares = np.bincount(cells.stratum[cells.target], cells.weight) / cells.weight.sum()
    strata = cells.stratum[cells.planted]
    count = int(cells.stratum.max()) + 1
    shares = np.concatenate([shares, np.zeros(count - len(shares))])
    empty = np.bincount(cells.planted, minlength=len(cells.stratum)) == 0
    asked = codes(planted["query_id"])
    return Survival(
        recipe=recipe,
        raw=raw,
        weighted=_weighted(outcome, strata, shares, together, level) if target is not None else None,
        strata=tuple(
            Stratum(
                cells=tuple(cells.labels[cell] for cell in np.flatnonzero(cells.stratum == at)),
                planted=int(mine.sum()),
                emitted=int(outcome[mine].sum()),
                target=float(shares[at]) if target is not None else None,
                queries=int(np.unique(asked[mine]).size),
                rate=proportion(outcome[mine], np.ones(int(mine.sum())), codes(together[mine]), level),
            )
            for at, mine in ((at, strata == at) for at in range(count))
        ),
        unplanted=float(cells.weight[empty[cells.target]].sum() / cells.weight.sum()),
    )


def leak_from_survival(survived: Interval, relevant_per_query: Interval | float | None, emitted_per_query: float) -> Interval:
    """Leak = survival × unlabelled relevant documents a query ÷ emitted negatives a query.

    The two intervals are joined as independent: squared distances are added (after Newcombe 2001), with their product for the corner.

    Args:
        survived: of :func:`survival`, best ``weighted``.
        relevant_per_query: unlabelled relevant *retrieved* documents a query, from a review or a calibrated teacher.
        emitted_per_query: negatives a query that the recipe emitted.

    Raises:
        UsageError: the middle term is not known: what there is, is survival and is to be named so.
        InputError: the recipe emitted nothing.
    """
    if relevant_per_query is None:
        raise UsageError(
            "survival alone is no leak: how many unlabelled documents are relevant is not known",
            "review a sample (`hardmine review export`) or calibrate the teacher; else report survival by its name",
        )
    if emitted_per_query <= 0:
        raise InputError("the recipe emitted no negatives", "there is no leak to measure")
    known = relevant_per_query
    middle, low, high = (known.estimate, known.low, known.high) if isinstance(known, Interval) else (known, known, known)
    down, up = survived.estimate - survived.low, survived.high - survived.estimate
    less, more = middle - low, high - middle
    product = survived.estimate * middle
    under = np.sqrt((down * middle) ** 2 + (survived.estimate * less) ** 2)
    over = np.sqrt((up * middle) ** 2 + (survived.estimate * more) ** 2 + (up * more) ** 2)
    ends = [float(np.clip(value / emitted_per_query, 0.0, 1.0)) for value in (product, product - under, product + over)]
    return survived.model_copy(
        update={"estimate": ends[0], "low": ends[1], "high": ends[2], "method": f"survival × relevant ÷ emitted; {survived.method}"}
    )


def _weighted(outcome: Floats, strata: Codes, shares: Floats, together: Codes, level: float) -> Interval:
    number = np.bincount(strata, minlength=len(shares)).astype(np.float64)
    rate = np.bincount(strata, outcome, len(shares)) / number
    weight = (shares / number)[strata]
    estimate = float(shares @ rate)
    contributions = by_cluster(weight * (outcome - rate[strata]), together)
    sizes = by_cluster(weight, together)
    alone = float((weight**2).sum())
    assumed = alone + CORRELATION * max(float((sizes**2).sum()) - alone, 0.0)
    hits, all_ = by_cluster(outcome, together), by_cluster(np.ones(len(outcome)), together)
    evidence = min(int((hits > 0).sum()), int((hits < all_).sum()))
    inner = float(np.clip(estimate, 0.5 * alone, 1 - 0.5 * alone))
    size = mixed_size(effective_size(inner, variance(contributions)), 1 / assumed, evidence, PRIOR_WEIGHT)
    low, high = wilson_ends(estimate, size, student_quantile(0.5 + level / 2, max(len(hits) - 1, 1)))
    method = "wilson over clusters, post-stratified"
    return Interval(estimate=estimate, low=low, high=high, level=level, method=method, n_clusters=len(hits), n=len(outcome))


def _alike(planted: pa.Table) -> pa.Table:
    """The planted pairs as their own target."""
    return planted.select(["rank", "score"]).append_column("weight", pa.array(np.ones(planted.num_rows)))


@dataclass(frozen=True)
class _Cells:
    """Rank × score bins in a winding order (neighbours are alike), joined to strata with enough planted pairs."""

    labels: list[str]
    stratum: Codes  # of each cell
    planted: Codes  # cell of each planted pair
    target: Codes  # cell of each target row
    weight: Floats

    @classmethod
    def of(cls, planted: pa.Table, target: pa.Table, settings: SurvivalSettings) -> _Cells:
        weight = target["weight"].cast(pa.float64()).to_numpy()
        if not np.isfinite(weight).all() or (weight < 0).any() or not weight.sum() > 0:
            raise InputError(
                "the target has no weight, or one that is not a number from 0", "give each candidate its probability to be relevant"
            )
        width = len(settings.score_edges) + 2
        mine, theirs = (_cell(table, settings, width) for table in (planted, target))
        used = np.unique(np.concatenate([mine, theirs]))
        mine, theirs = np.searchsorted(used, mine), np.searchsorted(used, theirs)
        number = np.bincount(mine, minlength=len(used))
        labels = [_label(int(one), settings, width) for one in used]
        return cls(labels, _joined(number, settings.min_planted), mine, theirs, weight)


def _cell(table: pa.Table, settings: SurvivalSettings, width: int) -> Codes:
    """Place of each row in the winding order; the last score bin is that of pairs without a score."""
    rank = table["rank"].cast(pa.float64()).fill_null(np.inf).to_numpy()
    score = table["score"].cast(pa.float64()).to_numpy()
    row = np.searchsorted(np.asarray(settings.rank_edges, dtype=np.float64), rank)
    column = np.where(np.isnan(score), width - 1, np.searchsorted(np.asarray(settings.score_edges), score, side="right"))
    return np.asarray(row * width + np.where(row % 2, width - 1 - column, column), dtype=np.int64)


def _joined(number: Codes, least: int) -> Codes:
    stratum = np.zeros(len(number), dtype=np.int64)
    current, filled = 0, 0
    for cell, count in enumerate(number):
        if filled >= least:
            current, filled = current + 1, 0
        stratum[cell] = current
        filled += int(count)
    if filled < least and current:
        stratum[stratum == current] = current - 1
    return stratum


def _label(cell: int, settings: SurvivalSettings, width: int) -> str:
    row, place = divmod(cell, width)
    column = width - 1 - place if row % 2 else place
    ranks = _span([str(edge) for edge in settings.rank_edges], row, "rank ≤ {}", "rank > {}")
    scores = (
        "no score" if column == width - 1 else _span([f"{edge:g}" for edge in settings.score_edges], column, "score < {}", "score ≥ {}")
    )
    return f"{ranks}, {scores}"


def _span(edges: Sequence[str], place: int, first: str, last: str) -> str:
    if not edges:
        return first.split()[0] + " any"
    if place == 0:
        return first.format(edges[0])
    if place == len(edges):
        return last.format(edges[-1])
    return f"{first.split()[0]} {edges[place - 1]}–{edges[place]}"
