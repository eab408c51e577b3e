"""Stage ``calibrate``: from the teacher's logits to probabilities, on labels that it was not trained on.

Labels are positive-unlabelled: the probability is that of a *labelled* positive, too low for counts, and is named so. It does order pairs,
weigh strata, and tell whether the teacher can tell at all. Queries of split calibration are for this, where there are any; those of dev
and test never take part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import pyarrow as pa

from tasks.calibration import FILE, Kind, Source
from tasks.runner.stage import Job, Stage, Work
from tasks.schema import RELIABILITY
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.truth.calibration import fit
from tasks.truth.held_out import LabelledPairs, labelled_pairs, out_of_fold, untrained
from tasks.truth.reliability import Reliability, auc, reliability, verdict
from tasks.truth.settings import CalibrationSettings

STAGE = Stage(name="calibrate", version=3, function="tasks.truth.calibrate:run", unit="candidates")

SOURCE: Source = "held-out labels, uncalibrated for counts"
_COLUMNS = ["query_id", "relevance", "is_positive", "planted", "provenance", "query_hash", "doc_hash"]


def jobs(
    candidates: Sequence[Part],
    scores: Sequence[Part],
    queries: Sequence[Part],
    sources: Sequence[str],
    depth: int,
    held_out: Literal["all"] | Mapping[str, float | int] = "all",
    settings: CalibrationSettings | None = None,
) -> list[Job]:
    """One job over all parts.

    Args:
        candidates: parts with candidates.parquet.
        scores: parts with pairs.parquet.
        queries: parts with queries.parquet.
        sources: whose ranks the teacher's depth means.
        depth: worst rank that the teacher scored.
        held_out: the queries that the teacher was not trained on: ``all`` (a given teacher, or one for each fold), or ``{"holdout": share,
            "seed": seed}`` as its training held groups out; a share of 0: none. Queries of split calibration always are: no teacher is
            trained on them.
        settings: see there.
    """
    keyed = held_out if isinstance(held_out, str) else {"holdout": float(held_out["holdout"]), "seed": int(held_out["seed"])}
    return [
        Job(
            index="all",
            inputs={
                "candidates": tuple(part.only("candidates.parquet") for part in candidates),
                "scores": tuple(part.only("pairs.parquet") for part in scores),
                "queries": tuple(part.only("queries.parquet") for part in queries),
            },
            settings={
                "sources": list(sources),
                "depth": depth,
                "held_out": keyed,
                "calibration": (settings or CalibrationSettings()).model_dump(mode="json"),
            },
            units=sum(part.file("candidates.parquet").rows or 0 for part in candidates),
        )
    ]


def run(work: Work, out: Output) -> None:
    """Write ``calibration.json`` (:class:`tasks.calibration.Calibration`) and ``reliability.parquet`` (:data:`tasks.schema.RELIABILITY`).

    Without enough labelled pairs there is no calibration.json, and the verdict says so. Meta: auc, brier, ece, verdict, positives, pairs,
    source, kind. Reliability, Brier and ece are of probabilities out of fold; the AUC is that of the logits.
    """
    keyed = work.job.settings
    settings = CalibrationSettings.model_validate(keyed["calibration"])
    sources = [str(source) for source in keyed["sources"]]
    queries = untrained(work.table("queries", "queries.parquet", ["query_id", "group", "split"]), keyed["held_out"], settings.folds)
    ranks = [f"{source}_rank" for source in sources]
    candidates = work.table("candidates", "candidates.parquet", [*_COLUMNS, *ranks])
    scores = work.table("scores", "pairs.parquet")
    given = labelled_pairs(candidates, scores, queries, sources, int(keyed["depth"]), settings.max_pairs)
    out.count(model_calls=0)
    out.meta.update(auc=None, brier=None, ece=None, positives=given.positives, pairs=len(given.label), source=SOURCE, kind=None)
    if given.positives < settings.min_positives or given.positives == len(given.label):
        out.table("reliability.parquet", RELIABILITY.empty_table())
        out.meta["verdict"] = "too few labels"
        return
    kind = _kind(settings, given)
    fitted = fit(given.score, given.label, given.weight, kind, SOURCE)
    found = reliability(out_of_fold(given, kind), given.label, given.weight, settings)
    curve = auc(given.score, given.label, given.weight)
    out.data(FILE, fitted.model_dump_json().encode())
    out.table("reliability.parquet", reliability_table(found))
    out.meta.update(auc=curve, brier=found.brier, ece=found.ece, verdict=verdict(curve, settings), kind=kind)


def reliability_table(found: Reliability) -> pa.Table:
    """:data:`tasks.schema.RELIABILITY`; ``weight`` is the bin's share of the candidates that the pairs stand for."""
    rows = [
        {"bin": number, "predicted": one.predicted, "observed": one.observed, "pairs": one.n, "weight": one.share}
        for number, one in enumerate(found.bins)
    ]
    return pa.Table.from_pylist(rows, RELIABILITY)


def _kind(settings: CalibrationSettings, given: LabelledPairs) -> Kind:
    if settings.kind != "auto":
        return settings.kind
    return "isotonic" if given.positives >= settings.isotonic_from else "platt"
