"""The work of the staleness-summary stage: means over queries with intervals, trained queries beside the control."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.intervals import Codes, clusters
from tasks.runner.stage import Work
from tasks.schema import STALENESS
from tasks.staleness.bootstrap import bounds, means, resampled_means
from tasks.staleness.gather import Bools, Floats
from tasks.staleness.run import COUNTS, MEANS
from tasks.store.output import Output

COHORTS = ("trained", "control")
_AT_FIRST = {"overlap": 1.0, "rank_biased_overlap": 1.0}  # with itself, where the round has candidates
_COMPARED = ("retired", "newly_hard", "gone")


def run(work: Work, out: Output) -> None:
    """Write ``summary.parquet`` (:data:`tasks.schema.STALENESS`); meta: confidence, rounds."""
    settings = work.job.settings
    found = work.table("found", "queries.parquet")
    own = work.table("own", "queries.parquet")
    asked = work.table("asked", "queries.parquet", ["query_id", "group"])
    rows: list[dict[str, Any]] = []
    for number, selection in enumerate(settings["selections"]):
        now = _of(found, selection)
        rows += _selection(now, _of(own, selection), _groups(now, asked), selection, settings, number)
        work.report(1)
    table = pa.Table.from_pylist(rows, schema=STALENESS)
    out.table("summary.parquet", table)
    out.meta.update(confidence=settings["confidence"], rounds=sorted({int(each["round"]) for each in settings["selections"]}))


def _of(table: pa.Table, selection: Mapping[str, Any]) -> pa.Table:
    """A selection's queries, by id."""
    own = pc.and_(pc.equal(table["from_round"], selection["round"]), pc.equal(table["selection_id"], selection["selection_id"]))
    return table.filter(own).sort_by("query_id")


def _groups(now: pa.Table, asked: pa.Table) -> Codes:
    """(queries,) code of each query's group, or of the query where it has none."""
    place = pc.index_in(now["query_id"], value_set=asked["query_id"].combine_chunks())
    return clusters(pa.table({"query_id": now["query_id"], "group": asked["group"].take(place)}))


def _selection(
    now: pa.Table, first: pa.Table, groups: Codes, selection: Mapping[str, Any], settings: Mapping[str, Any], number: int
) -> Iterator[dict[str, Any]]:
    """All rows of one selection."""
    trained = now["trained"].combine_chunks().to_numpy(zero_copy_only=False)
    values = _matrix(now)
    at_first = _at_first(now, first, values)
    named = {name: selection[name] for name in ("recipe", "selection_id", "age", "steps", "trained_on")} | {
        "from_round": selection["round"]
    }
    drawn, told = [], []
    for stream, cohort in enumerate(COHORTS):
        mine = trained if cohort == "trained" else ~trained
        drawn.append(resampled_means(values[mine], int(settings["resamples"]), int(settings["seed"]), 2 * number + stream, groups[mine]))
        told.append((means(values[mine]), means(at_first[mine])))
        low_high = bounds(drawn[-1], float(settings["confidence"]))
        about = {**named, "cohort": cohort, "level": settings["confidence"]}
        yield from _means(about, told[-1], low_high, selection, values[mine], _sum(now, "negatives", mine))
        yield from _counts({**named, "cohort": cohort}, now, mine, bool(selection["compared"]))
    difference = told[0][0] - told[1][0], told[0][1] - told[1][1]
    about = {**named, "cohort": "difference", "level": settings["confidence"]}
    low_high = bounds(drawn[0] - drawn[1], float(settings["confidence"]))
    yield from _means(about, difference, low_high, selection, values, None)


def _means(
    about: Mapping[str, Any],
    told: tuple[Floats, Floats],
    low_high: tuple[Floats, Floats],
    selection: Mapping[str, Any],
    values: Floats,
    negatives: int | None,
) -> Iterator[dict[str, Any]]:
    """One row a measure; those of which nothing is known are left out."""
    queries = (~np.isnan(values)).sum(axis=0)
    for place, measure in enumerate(MEANS):
        if not np.isnan(told[0][place]):
            yield {
                **about,
                "measure": measure,
                "value": _plain(told[0][place]),
                "low": _plain(low_high[0][place]),
                "high": _plain(low_high[1][place]),
                "at_first": _plain(told[1][place]),
                "agreement_floor": selection["floor"] if measure in _AT_FIRST and about["cohort"] != "difference" else None,
                "queries": int(queries[place]),
                "negatives": negatives,
            }


def _counts(about: Mapping[str, Any], now: pa.Table, mine: Bools, compared: bool) -> Iterator[dict[str, Any]]:
    """Sums over the cohort's queries; what no later selection was compared with is left out."""
    for name in _COMPARED if compared else ("gone",):
        if mine.any():
            yield {
                **about,
                "measure": name,
                "value": float(_sum(now, name, mine)),
                "at_first": 0.0,
                "queries": int(mine.sum()),
                "negatives": _sum(now, "negatives", mine),
            }


def _matrix(table: pa.Table, names: Sequence[str] = MEANS) -> Floats:
    """(queries, measures) float64, NaN where not known."""
    columns = [np.asarray(table[name].to_numpy(), dtype=np.float64) for name in names]
    return np.column_stack(columns) if columns else np.empty((table.num_rows, 0))


def _at_first(now: pa.Table, first: pa.Table, values: Floats) -> Floats:
    """The same queries' values under their own round's checkpoint, where the later one has a value."""
    found = np.full(values.shape, np.nan)
    if first.num_rows:
        at = pc.fill_null(pc.index_in(now["query_id"], value_set=first["query_id"].combine_chunks()), -1).to_numpy()
        before = _matrix(first)
        found[at >= 0] = before[at[at >= 0]]
    for measure, value in _AT_FIRST.items():
        found[:, MEANS.index(measure)] = value
    found[np.isnan(values)] = np.nan
    return found


def _sum(table: pa.Table, name: str, mine: Bools) -> int:
    assert name in COUNTS
    return int(pc.sum(table[name].filter(pa.array(mine)), min_count=0).as_py() or 0)


def _plain(value: np.floating[Any]) -> float | None:
    return None if np.isnan(value) else float(value)
