"""Feature ``rank-weights``: RANCE's weight of each dense rank, learnt from where the labelled positives stand.

g[r] = (1 − hits[r]/Q) / ln(r + 2), smoothed by a moving average of 9 ranks, fitted by a polynomial of degree 4, less its least value,
not under 0. A rank weighs more the fewer relevant documents stand there, and the higher it is.

Source: RANCE's code [code, in part]. Choices of ours where it is not established: r counts from 0, as ln(r + 2) suggests (dense_rank 1
is r = 0); the judged set is all queries that may be trained on and have a positive by people's labels (promoted ones would confirm
themselves, and what is trained must not have seen queries that calibrate, choose or test); at the ends the moving average takes the
ranks that there are, and it is over a third of the ranks at most, since over few ranks it would level them all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from tasks.errors import UsageError
from tasks.features.base import Call, FeatureInputs, label_columns, only, row_jobs, rows, unpromoted, write_features
from tasks.models.order import is_trained
from tasks.runner.stage import Job, Stage, Work
from tasks.settings import Settings
from tasks.store.manifest import Part, StageManifest
from tasks.store.output import Output
from tasks.store.tables import read_array

FIT = Stage(name="feature-rank-weights-fit", version=2, function="tasks.features.rank_weights:run_fit", unit="candidates")
STAGE = Stage(name="feature-rank-weights", version=1, function="tasks.features.rank_weights:run", unit="candidates")

Floats = NDArray[np.float64]


class RankWeightSettings(Settings):
    """How the curve over ranks is smoothed."""

    window: int = Field(9, ge=1, description="Ranks of the moving average; at most a third of those mined.")
    degree: int = Field(4, ge=0, le=20, description="Degree of the polynomial; less than the number of ranks.")


def build(call: Call, inputs: FeatureInputs, settings: RankWeightSettings) -> StageManifest:
    """The fit over all queries, then each candidate's weight.

    Raises:
        UsageError: the round has no dense source.
    """
    if "dense" not in inputs.sources:
        raise UsageError("feature 'rank-weights' weighs dense ranks, and the round has none", "mine with the source dense")
    fitted = call(FIT, fit_jobs(inputs.scored, inputs.queries, settings))
    return call(STAGE, jobs(inputs.scored, fitted.parts))


def fit_jobs(scored: Sequence[Part], queries: Sequence[Part], settings: RankWeightSettings | None = None) -> list[Job]:
    """One job over all parts of the scored table, and of ``queries`` in their order."""
    keyed = (settings or RankWeightSettings()).model_dump(mode="json")
    inputs = {"scored": only(scored, "scored.parquet"), "splits": only(queries, "queries.parquet")}
    return [Job(index="all", inputs=inputs, settings=keyed, units=rows(scored, "scored.parquet"))]


def jobs(scored: Sequence[Part], fitted: Sequence[Part]) -> list[Job]:
    """One job a part of the scored table."""
    return row_jobs(scored, {"weights": tuple(fitted)})


def run_fit(work: Work, out: Output) -> None:
    """Write ``weights.npy``, float64 (deepest dense rank,). Meta: judged queries, depth."""
    settings = RankWeightSettings.model_validate(dict(work.job.settings))
    hits, judged = np.zeros(0, dtype=np.int64), 0
    for part, asked in zip(work.job.inputs["scored"], work.job.inputs["splits"], strict=True):
        table = work.part_table(part, "scored.parquet", [*label_columns(work.storage, part.file("scored.parquet")), "dense_rank"])
        depth = pc.max(table["dense_rank"]).as_py() or 0
        trained = is_trained(work.part_table(asked, "queries.parquet", ["split"])["split"])
        positives = table.filter(pc.and_(unpromoted(table), trained.take(table["query_row"])))
        judged += pc.count_distinct(positives["query_row"]).as_py()
        there = np.bincount(positives["dense_rank"].drop_null().to_numpy() - 1, minlength=max(depth, len(hits)))
        there[: len(hits)] += hits
        hits = there
        work.report(table.num_rows)
    out.array("weights.npy", rank_weights(hits, judged, settings.window, settings.degree))
    out.meta.update({"judged": judged, "depth": len(hits)})
    out.count(model_calls=0)


def run(work: Work, out: Output) -> None:
    """Write ``rance_weight``; NULL where dense retrieval did not find the document."""
    rank = work.table("scored", "scored.parquet", ["dense_rank"])["dense_rank"]
    weights = pa.array(read_array(work.storage, work.job.inputs["weights"][0].file("weights.npy")))
    write_features(work, out, "rank-weights", {"rance_weight": weights.take(pc.subtract(rank.combine_chunks(), 1))})


def rank_weights(hits: NDArray[np.int64], judged: int, window: int = 9, degree: int = 4) -> Floats:
    """Weights by rank.

    Args:
        hits: (depth,) judged queries that have a relevant document at each rank, the best rank first.
        judged: how many judged queries there are; with none no rank has a hit.
        window: ranks of the moving average, around each; at most depth / 3.
        degree: of the polynomial, at most depth − 1.

    Returns:
        (depth,) float64, none under 0, the least 0.

    >>> rank_weights(np.array([1, 0]), 2, window=1).round(4).tolist()
    [0.0, 0.1889]
    """
    if not len(hits):
        return np.zeros(0)
    rank = np.arange(len(hits), dtype=np.float64)
    gain = (1 - hits / max(judged, 1)) / np.log(rank + 2)
    smooth = moving_average(gain, min(window, max(len(hits) // 3, 1)))
    fitted = np.polynomial.Polynomial.fit(rank, smooth, min(degree, len(hits) - 1))(rank) if len(hits) > 1 else smooth
    weights: Floats = np.maximum(fitted - fitted.min(), 0.0)
    return weights


def moving_average(values: Floats, window: int) -> Floats:
    """Mean over ``window`` places around each, over those that there are at the ends.

    >>> moving_average(np.array([1.0, 2.0, 6.0]), 3).tolist()
    [1.5, 3.0, 4.0]
    """
    total = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    first, last = np.maximum(place - window // 2, 0), np.minimum(place + (window + 1) // 2, len(values))
    mean: Floats = (total[last] - total[first]) / (last - first)
    return mean
