"""Rows of :data:`tasks.schema.ESTIMATES`: each estimator on all queries and on every slice of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.intervals import Codes, Floats, Interval, by_cluster, codes, variance
from tasks.quantiles import student_quantile
from tasks.truth.selected import Flags, Selected, SliceOf, floats
from tasks.truth.settings import SurvivalSettings
from tasks.truth.slices import SMALL, rates
from tasks.truth.survival import Survival, leak_from_survival, survival

Row = dict[str, Any]
STRATA = "rank × score"  # the slice that holds survival's strata
_FAR = 2**31 - 1  # the rank of a document that another source than the dense one found


def row(estimator: str, name: str, value: str, interval: Interval, pairs: int, queries: int, note: str = "") -> Row:
    """One estimate; the value of slice ``all`` is empty."""
    return {
        "estimator": estimator,
        "slice": name,
        "value_of_slice": "" if name == "all" else value,
        "rate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "level": interval.level,
        "pairs": pairs,
        "queries": queries,
        "small": queries < SMALL,
        "note": note,
    }


def share_rows(selected: Selected, estimator: str, top: Floats, bottom: Floats, level: float, note: str = "") -> list[Row]:
    """A share of pairs, on every slice that has some.

    Args:
        selected: the selection.
        estimator: its name.
        top: (queries,) numerators.
        bottom: (queries,) pairs.
        level: confidence.
        note: beside all of them.
    """
    have = pa.array(bottom > 0)
    counts = pa.table(
        {"query_id": selected.queries["query_id"], "group": selected.queries["group"], "numerator": top, "denominator": bottom}
    )
    found = rates(counts.filter(have), selected.sliced, level)
    made = [row(estimator, one.slice, one.value, one.rate, one.rate.n, one.queries, note) for one in found]
    return sorted(made, key=lambda one: one["slice"] != "all")


@dataclass(frozen=True)
class Middle:
    """How many unlabelled relevant documents were retrieved for each query.

    Args:
        relevant: (queries,) their (expected) number.
        known: (queries,) for which queries it is known.
        source: how.
        target: the likely relevant unlabelled candidates among ``within``, or none.
        within: (candidates,) over which it was counted, and survival is to be; none: all that were retrieved.
        note: what else it rests on.
    """

    relevant: Floats
    known: Flags
    source: str
    target: Target | None = None
    within: Flags | None = None
    note: str = ""


@dataclass(frozen=True)
class Planted:
    """Planted positives that some source retrieved.

    Args:
        place: (m,) row among the candidates.
        query: (m,) place of the query.
        rank: (m,) dense rank; the last there is, where another source found it.
        score: (m,) the teacher's activated score, NaN: none.
        emitted: (m,) the recipe would have trained with it as a negative.
    """

    place: Codes
    query: Codes
    rank: Codes
    score: Floats
    emitted: Flags

    @classmethod
    def of(cls, selected: Selected, probes: pa.Table) -> Planted:
        """From :data:`tasks.schema.PROBES`."""
        place = selected.find(probes)
        probes, place = probes.filter(pa.array(place >= 0)), place[place >= 0]
        emitted = np.asarray(probes["emitted"].to_numpy(), dtype=bool)
        return cls(place, selected.query[place], _ranks(floats(probes["dense_rank"])), selected.score("teacher_sigmoid")[place], emitted)


@dataclass(frozen=True)
class Target:
    """The likely relevant unlabelled candidates: weight of each query in each cell of rank and score.

    Args:
        weight: (queries, cells).
        rank: (cells,) a rank of the cell.
        score: (cells,) a score of the cell, NaN: none.
        note: what the weights are.
    """

    weight: Floats
    rank: Codes
    score: Floats
    note: str

    @classmethod
    def of(cls, selected: Selected, probability: Floats, note: str, settings: SurvivalSettings) -> Target:
        """From each candidate's probability to be relevant (NaN: unknown, weighs nothing)."""
        edges, scores = np.asarray(settings.rank_edges), np.asarray(settings.score_edges)
        score, rank = selected.score("teacher_sigmoid"), _ranks(selected.score("dense_rank"))
        width = len(scores) + 2
        column = np.where(np.isnan(score), width - 1, np.searchsorted(scores, score, side="right"))
        cells = (len(edges) + 1) * width
        cell = np.searchsorted(edges, rank) * width + column
        mine = selected.unlabelled & (np.nan_to_num(probability) > 0)
        size = selected.queries.num_rows * cells
        weight = np.bincount(selected.query[mine] * cells + cell[mine], probability[mine], size).astype(np.float64)
        return cls(
            weight.reshape(-1, cells),
            np.repeat(np.append(edges, _FAR), width),
            np.tile(np.concatenate([[-np.inf], scores, [np.nan]]), len(edges) + 1),
            note,
        )

    def table(self, queries: Flags) -> pa.Table | None:
        """Of some queries, as :func:`tasks.truth.survival.survival` takes it; none if nothing weighs anything."""
        weight = self.weight[queries].sum(axis=0)
        have = weight > 0
        if not have.any():
            return None
        return pa.table({"rank": self.rank[have], "score": pa.array(self.score[have], from_pandas=True), "weight": weight[have]})


def planted_rows(
    selected: Selected, planted: Planted, target: Target | None, middle: Middle | None, settings: SurvivalSettings, level: float = 0.95
) -> Iterator[Row]:
    """Survival raw and weighted, and the leak where it is known how many unlabelled documents are relevant."""
    for one in selected.slices:
        mine = one.queries[planted.query]
        if not mine.any():
            continue
        found = _survival(selected, planted, mine, target.table(one.queries) if target else None, settings, level)
        about = (one.name, one.value)
        size = int(mine.sum()), int(np.unique(planted.query[mine]).size)
        yield row("planted_survival", *about, found.raw, *size, "share of planted positives emitted: no rate of negatives")
        if found.weighted is not None and target is not None:
            yield row("planted_survival_weighted", *about, found.weighted, *size, _weighted_note(found, target))
        leak = _leak(selected, one, planted, found, middle, settings)
        if leak is not None:
            yield row("planted", *about, leak[0], *leak[1:3], note=leak[3])
        if one.name == "all":
            yield from _strata_rows(found)


def over_queries(values: Floats, groups: Codes, level: float) -> Interval:
    """Mean over queries with a normal interval over groups of them (ratio estimator; Cochran 1977, 6.3); not below 0."""
    top, bottom = by_cluster(values, groups), by_cluster(np.ones(len(values)), groups)
    mean = float(top.sum() / bottom.sum())
    spread = float(variance((top - mean * bottom) / bottom.sum())) ** 0.5 * student_quantile(0.5 + level / 2, max(len(top) - 1, 1))
    return Interval(
        estimate=mean,
        low=max(mean - spread, 0.0),
        high=mean + spread,
        level=level,
        method="mean over queries",
        n_clusters=len(top),
        n=len(values),
    )


def _survival(
    selected: Selected, planted: Planted, mine: Flags, target: pa.Table | None, settings: SurvivalSettings, level: float
) -> Survival:
    query = pa.array(planted.query[mine])
    table = pa.table(
        {
            "query_id": selected.queries["query_id"].take(query),
            "group": selected.queries["group"].take(query),
            "rank": planted.rank[mine],
            "score": pa.array(planted.score[mine], from_pandas=True),
        }
    )
    return survival(table, planted.emitted[mine], "", target, settings, level)


def _weighted_note(found: Survival, target: Target) -> str:
    unlike = f"; {found.unplanted:.0%} of their weight lies where nothing is planted" if found.unplanted > 0 else ""
    return f"to the mix of the likely relevant unlabelled candidates by rank and score ({target.note}){unlike}: no rate of negatives"


def _strata_rows(found: Survival) -> Iterator[Row]:
    """Survival of each stratum of rank and score, as they are weighted; what was merged is named by its first and last cell."""
    for one in found.strata:
        value = " + ".join(one.cells) if len(one.cells) < 3 else f"{one.cells[0]} … {one.cells[-1]}"
        share = "" if one.target is None else f"; {one.target:.0%} of the likely relevant unlabelled candidates lie here"
        note = f"share of planted positives emitted: no rate of negatives{share}"
        yield row("planted_survival", STRATA, value, one.rate, one.planted, one.queries, note)


def _leak(
    selected: Selected, one: SliceOf, planted: Planted, found: Survival, middle: Middle | None, settings: SurvivalSettings
) -> tuple[Interval, int, int, str] | None:
    """Leak on a slice, over its queries that have training rows and a known number of relevant documents; planted pairs, queries, a note.

    Where these were counted over some candidates only, survival and emitted negatives are those of the same candidates.
    """
    if middle is None:
        return None
    counted, negatives, mine = one.queries & middle.known & selected.trained, selected.emitted, one.queries[planted.query]
    if middle.within is not None:
        mine = mine & middle.within[planted.place]
        if not mine.any():
            return None
        target = middle.target.table(one.queries) if middle.target else None
        found = _survival(selected, planted, mine, target, settings, found.raw.level)
        negatives = negatives & middle.within
    emitted = selected.by_query(1.0, negatives)
    if not emitted[counted].any():
        return None
    outside = 1 - float(emitted[counted].sum()) / float(selected.by_query(1.0, selected.emitted)[counted].sum())
    relevant = over_queries(middle.relevant[counted], codes(selected.groups[counted]), found.raw.level)
    each = float(emitted[counted].mean())
    leak = leak_from_survival(found.weighted or found.raw, relevant, each)
    note = f"survival × {relevant.estimate:.2f} unlabelled relevant a query ({middle.source}) ÷ {each:.2f} emitted{middle.note}"
    note += f"; {outside:.0%} of the negatives are none of these and are not in it" if outside > 0 else ""
    return leak, int(mine.sum()), int(np.unique(planted.query[mine]).size), note


def _ranks(rank: Floats) -> Codes:
    return np.where(np.isnan(rank), _FAR, rank).astype(np.int64)
