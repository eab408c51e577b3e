"""Stage ``evaluate-teacher``: does the teacher rank the retrieved documents of held-out queries better than the retriever?

Both rank the same documents: those that the retriever found and the teacher scored. What was not retrieved counts as not found for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import InputError
from tasks.evaluate.intervals import summary
from tasks.evaluate.measures import check_measures, per_query
from tasks.evaluate.settings import EvaluateSettings
from tasks.intervals import Codes, clusters
from tasks.runner.stage import Job, Stage, Work
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

STAGE = Stage(name="evaluate-teacher", version=2, function="tasks.evaluate.rerank:run", unit="candidates")

RERANKED = pa.schema([("query_id", pa.string()), ("measure", pa.string()), ("teacher", pa.float64()), ("retriever", pa.float64())])
_COLUMNS = ["query_id", "doc_id", "relevance", "dense_rank", "dense_score", "teacher_logit"]


def jobs(scored: Sequence[Part], queries: Sequence[Part], settings: EvaluateSettings, positive_min_grade: int = 1) -> list[Job]:
    """One job, named after the split.

    Args:
        scored: parts of ``scored``.
        queries: parts with queries.parquet, in the same order.
        settings: split, measures, depth.
        positive_min_grade: judgements from this grade on count, with their grade.

    Raises:
        UsageError: a measure is unknown.
    """
    check_measures(settings.measures, settings.depth)
    inputs = {
        "scored": tuple(part.only("scored.parquet") for part in scored),
        "queries": tuple(part.only("queries.parquet") for part in queries),
    }
    keyed = {**settings.keyed(), "positive_min_grade": positive_min_grade}
    return [Job(index=settings.split, inputs=inputs, settings=keyed, units=sum(part.file("scored.parquet").rows or 0 for part in scored))]


def run(work: Work, out: Output) -> None:
    """Write ``metrics.parquet`` (:data:`RERANKED`); meta: split, queries, measures and gain (mean, low, high by name).

    Raises:
        InputError: no query of the split has a positive and a scored document.
    """
    settings = EvaluateSettings.of(work.job.settings)
    pairs = _pairs(work, settings.split)
    qrels = pairs[pairs["relevance"] >= int(work.job.settings["positive_min_grade"])][["query_id", "doc_id", "relevance"]]
    seen = pairs[pairs["dense_rank"].notna() & pairs["teacher_logit"].notna()]
    kept = sorted(set(qrels["query_id"]) & set(seen["query_id"]))
    if not kept:
        raise InputError(
            f"no query of split {settings.split!r} has both a positive and documents that the teacher scored",
            "set dataset.splits, and a teacher with depth 1 or more",
        )
    qrels = qrels[qrels["query_id"].isin(kept)].astype({"relevance": int})
    values = {name: per_query(settings.measures, qrels, _run(seen, by), kept) for name, by in _RANKED_BY.items()}
    names = np.tile(np.asarray(settings.measures, dtype=object), len(kept))
    ids = np.repeat(np.asarray(kept, dtype=object), len(settings.measures))
    table = pa.table([pa.array(each) for each in (ids, names, values["teacher"].ravel(), values["retriever"].ravel())], RERANKED.names)
    out.table("metrics.parquet", table.cast(RERANKED))
    groups = _groups(work, kept)
    out.count(model_calls=0)
    out.meta.update(
        split=settings.split,
        queries=len(kept),
        measures=_summary(values["teacher"], settings, groups),
        gain=_summary(values["teacher"] - values["retriever"], settings, groups),
    )
    work.report(len(pairs))


_RANKED_BY = {"teacher": "teacher_logit", "retriever": "dense_score"}


def _pairs(work: Work, split: str) -> pd.DataFrame:
    """All candidates of the split's queries."""
    pieces = []
    for scored, asked in zip(work.job.inputs["scored"], work.job.inputs["queries"], strict=True):
        queries = read_table(work.storage, asked.file("queries.parquet"), ["query_id", "split"])
        own = queries["query_id"].filter(pc.fill_null(pc.equal(pc.utf8_lower(queries["split"]), split.lower()), False))
        table = read_table(work.storage, scored.file("scored.parquet"), _COLUMNS)
        pieces.append(table.filter(pc.is_in(table["query_id"], value_set=own.combine_chunks())))
    found: pd.DataFrame = pa.concat_tables(pieces).to_pandas()
    return found


def _run(seen: pd.DataFrame, by: str) -> pd.DataFrame:
    """The ranking by a score; equal scores by doc_id."""
    import pandas as pd

    ordered = seen.sort_values(["query_id", by, "doc_id"], ascending=[True, False, True])
    rank = ordered.groupby("query_id").cumcount().to_numpy(dtype=np.float64)
    return pd.DataFrame({"query_id": ordered["query_id"], "doc_id": ordered["doc_id"], "score": -rank})


def _groups(work: Work, kept: Sequence[str]) -> Codes:
    """Code of each kept query's group."""
    asked = work.table("queries", "queries.parquet", ["query_id", "group"])
    mine = asked.filter(pc.is_in(asked["query_id"], value_set=pa.array(kept, pa.string())))
    return clusters(mine.sort_by("query_id"))


def _summary(values: np.ndarray, settings: EvaluateSettings, groups: Codes) -> dict[str, dict[str, float]]:
    return summary(settings.measures, values, settings.resamples, settings.confidence, settings.seed, groups)
