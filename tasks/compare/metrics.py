"""What one recipe did over a round: yield, hardness, and false negatives by truth and by estimate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.compare.groups import query_clusters
from tasks.compare.negatives import Training, training
from tasks.compare.results import DrawLeak, Leak, Measures, Metrics, Rate, Spread
from tasks.compare.settings import MeasureSettings
from tasks.compare.statements import NUMBERS, numbers_sql, pairs_sql, service_sql
from tasks.compare.truth import Truth
from tasks.errors import InputError
from tasks.intervals import Floats, proportion
from tasks.sql import run

SCORED_COLUMNS = ("query_id", "doc_id", *NUMBERS)

_Columns = dict[str, Floats]
_Mask = npt.NDArray[np.bool_]


def measure(
    selection: pa.Table,
    scored: pa.Table,
    truth: Truth | None,
    settings: MeasureSettings,
    rows: pa.Table | None = None,
    groups: pa.Table | None = None,
) -> Metrics:
    """One recipe over the whole round.

    Args:
        selection: decisions, at least :data:`tasks.compare.negatives.DECISION_COLUMNS`.
        scored: the scored table, at least query_id, doc_id, dense_score; what is missing of :data:`SCORED_COLUMNS` is not measured.
        truth: exhaustive judgements, or none.
        settings: see there.
        rows: training rows, where a recipe limits them.
        groups: query_id, group (NULL: none): queries of one group are not independent; none: all are.

    Raises:
        InputError: no judged query has a training row.
    """
    trained = training(selection, rows)
    tables = {"anchors": trained.anchors, "drawn": trained.drawn, "scored": _complete(scored), **_judgements(truth)}
    service = _columns(run(service_sql(settings), tables))
    numbered = run(numbers_sql(), tables)
    pairs = _columns(run(pairs_sql(settings), {**tables, "service": numbered}))
    pairs["cluster"] = query_clusters(numbered, groups)[pairs["query_no"].astype(np.int64)].astype(np.float64)
    everything = np.ones(len(service["rows"]), dtype=np.bool_)
    found = _measures(service, pairs, everything, settings)
    if truth is None:
        return Metrics(**found.model_dump())
    judged = service["judged"] > 0
    if not judged.any():
        raise InputError("truth: none of its judged queries has a training row in this round", "give the qrels of this collection")
    leak = _leak(_within(pairs, judged), settings, _by_draw(trained, tables, settings))
    return Metrics(**found.model_dump(), judged=_measures(service, pairs, judged, settings), leak=leak)


def _complete(scored: pa.Table) -> pa.Table:
    """The columns that are read; those that a round lacks are empty."""
    table = scored.select([name for name in SCORED_COLUMNS if name in scored.column_names])
    for name in NUMBERS:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, pa.float32()))
    return table


def _judgements(truth: Truth | None) -> dict[str, pa.Table]:
    if truth is not None:
        return {"judged": truth.judged, "relevant": truth.relevant}
    nothing = pa.table({"query_id": pa.array([], pa.string()), "doc_id": pa.array([], pa.string())})
    return {"judged": nothing, "relevant": nothing}


def _by_draw(trained: Training, tables: Mapping[str, pa.Table], settings: MeasureSettings) -> dict[str, DrawLeak]:
    """Distinct negatives of the judged queries by the draw that took them; in several stages a pair may count for several draws."""
    found = run(
        f"""SELECT coalesce(d.draw, '') AS draw, count(*) AS negatives, count(r.doc_id) AS leaked
            FROM (SELECT DISTINCT draw, query_id, doc_id FROM drawn WHERE label <= {settings.relevant_label!r}::DOUBLE) d
            SEMI JOIN judged USING (query_id)
            LEFT JOIN relevant r ON r.query_id = d.query_id AND r.doc_id = d.doc_id
            GROUP BY 1 ORDER BY 1""",
        {"drawn": trained.drawn, "judged": tables["judged"], "relevant": tables["relevant"]},
    )
    return {row["draw"]: DrawLeak(negatives=row["negatives"], leaked=row["leaked"]) for row in found.to_pylist()}


def _columns(table: pa.Table) -> _Columns:
    """float64 arrays; NULL is NaN."""
    return {name: table[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in table.column_names}


def _within(pairs: _Columns, queries: _Mask) -> _Columns:
    """Pairs of some queries."""
    inside = queries[pairs["query_no"].astype(np.int64)]
    return {name: values[inside] for name, values in pairs.items()}


def _measures(service: _Columns, pairs: _Columns, queries: _Mask, settings: MeasureSettings) -> Measures:
    inside = _within(pairs, queries)
    negative = inside["negative"] > 0
    drawn = {name: values[negative] for name, values in inside.items()}
    count, negatives = int(queries.sum()), int(negative.sum())
    served, some = service["served"][queries] > 0, service["some"][queries] > 0
    likely = drawn["teacher_calibrated"]
    known = ~np.isnan(likely)
    likely = np.where(known, likely, 0.0)
    return Measures(
        queries=count,
        rows=int(service["rows"][queries].sum()),
        served=float(served.mean()) if count else 0.0,
        partly_served=float((some & ~served).mean()) if count else 0.0,
        negatives=negatives,
        negatives_per_query=negatives / count if count else 0.0,
        drawn_as_relevant=int((~negative).sum()),
        backfill=float(drawn["backfill"].mean()) if negatives else None,
        similarity=_spread(drawn["dense_score"]),
        fixed_similarity=_spread(drawn["fixed_score"]),
        teacher_logit=_spread(drawn["teacher_logit"]),
        teacher_sigmoid=_spread(drawn["teacher_sigmoid"]),
        rank=_spread(drawn["dense_rank"]),
        estimated=_rate(drawn, likely, known * 1.0, settings),
        weighted_estimated=_rate(drawn, likely, known * drawn["weight"], settings),
    )


def _leak(pairs: _Columns, settings: MeasureSettings, by_draw: dict[str, DrawLeak]) -> Leak | None:
    """Leak over the judged queries, or none without a negative."""
    negative = pairs["negative"]
    wrong = pairs["relevant"]
    total = _rate(pairs, wrong, negative, settings)
    if total is None:
        return None
    return Leak(
        total=total,
        chosen=_rate(pairs, wrong, negative * (1 - pairs["backfill"]), settings),
        backfill=_rate(pairs, wrong, negative * pairs["backfill"], settings),
        weighted=_rate(pairs, wrong, negative * pairs["weight"], settings),
        gradient=_rate(pairs, wrong, negative * np.nan_to_num(pairs["mass"]), settings),
        by_draw=by_draw,
    )


def _rate(pairs: _Columns, values: Floats, weights: Floats, settings: MeasureSettings) -> Rate | None:
    """Σ weight·value ÷ Σ weight with its interval over groups of queries; none where all weights are 0.

    Weighted pairs say as much as (Σ weight)² ÷ Σ weight² of equal weight (Kish 1965): the weights are scaled to that sum.

    Args:
        pairs: with ``query_no`` and ``cluster``.
        values: 0 … 1, one a pair.
        weights: not negative, one a pair.
        settings: confidence.
    """
    if not (weights > 0).any():
        return None
    counted = weights * weights.sum() / (weights**2).sum()
    found = proportion(values * counted, counted, pairs["cluster"].astype(np.int64), settings.confidence)
    queries = len(np.unique(pairs["query_no"][weights > 0]))
    return Rate(value=found.estimate, low=found.low, high=found.high, pairs=int((weights > 0).sum()), queries=queries)


def _spread(values: Floats) -> Spread | None:
    known = values[~np.isnan(values)]
    return Spread(mean=float(known.mean()), std=float(known.std()), pairs=len(known)) if len(known) else None
