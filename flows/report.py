"""The report of a round: everything gathered from what is committed, then one HTML file. No model runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.compare import CompareRequest, Comparison
from flows.examples import hardest, hubs, suspect_zeros, suspicious
from flows.planning.outlays import total
from flows.rates import teacher_warnings
from flows.report_estimates import shown_estimates, shown_slices
from flows.report_names import BASELINE, compare_judged, compared, selection_labels
from flows.results import sum_meta
from flows.staleness_report import staleness_section
from flows.stored import measured, review_verdict, stored_settings, stored_stage
from flows.summary import REASONS
from tasks.audit.records import RoundRecord, SelectionRecord
from tasks.compare.truth import Truth
from tasks.models.settings import PACKAGED
from tasks.report.data import (
    Calibration,
    Cost,
    Facts,
    Funnel,
    Planned,
    Rejection,
    ReliabilityBin,
    ReportData,
    Reviewed,
    YieldRow,
    Yields,
)
from tasks.report.data import Comparison as ComparisonSection
from tasks.report.pictures import histograms
from tasks.report.render import write_report
from tasks.runner.runner import Context
from tasks.store.manifest import StageManifest
from tasks.store.storage import Storage
from tasks.store.tables import read_table

_FITTED_ON_REVIEW = "Fitted on a reviewed sample of this round's negatives; each pair judged by a fit that saw no label of its fold."


def report(
    context: Context,
    record: RoundRecord,
    target: Path,
    recipes: Sequence[str | dict[str, Any]],
    truth: Truth | None,
    sweep_queries: int,
    split: str = "",
) -> Path:
    """Write the report of a round.

    Args:
        context: storage, executor, progress.
        record: the round.
        target: the HTML file.
        recipes: to compare beside the round's own; none: plain top-K.
        truth: exhaustive judgements; none: those that the round was measured by (``truth.qrels``), where they are exhaustive.
        sweep_queries: see :class:`flows.compare.CompareRequest`.
        split: of the queries that recipes are compared on, see there.
    """
    chosen = record.selection()
    shown = compared(record, recipes)
    request = CompareRequest(recipes=shown.wanted, truth=truth, truncate=True, sweep_queries=sweep_queries, split=split)
    comparison = shown.named(compare_judged(context, record, request))
    judged = any(one.metrics.leak is not None for one in comparison.outcomes)
    data = gather(context.storage, record, chosen, comparison, judged, shown.labels, shown.baseline)
    return write_report(data, target)


def gather(
    storage: Storage,
    record: RoundRecord,
    chosen: SelectionRecord,
    comparison: Comparison,
    judged: bool,
    labels: Mapping[str, str] | None = None,
    baseline: str = BASELINE,
) -> ReportData:
    """All that the report shows.

    Args:
        storage: the root.
        record: the round.
        chosen: the selection that the report is about.
        comparison: of its recipes.
        judged: whether that is against exhaustive judgements.
        labels: of the selections by id, as the comparison names them; none: :func:`flows.report_names.selection_labels`.
        baseline: the name of plain top-K in the comparison.
    """
    labels = labels or selection_labels(record)
    selections = [chosen, *(one for one in record.selections if one.selection_id != chosen.selection_id)]
    estimates = {one.selection_id: measured(storage, one, "estimates.parquet") for one in selections}
    reviewed = {one.selection_id: bool(_measures(storage, one).get("calibration")) for one in selections}
    zero_count, zeros = suspect_zeros(storage, record, chosen)
    return ReportData(
        warnings=tuple(_warnings(storage, record)),
        facts=_facts(record, labels[chosen.selection_id], baseline),
        funnels=tuple(_funnel(stored_stage(storage, one.select), labels[one.selection_id]) for one in selections),
        scores=tuple(histograms(bins)) if (bins := measured(storage, chosen, "histogram.parquet")) is not None else (),
        comparison=ComparisonSection(
            outcomes=comparison.outcomes,
            curves=comparison.curves,
            points=comparison.points,
            left_out=comparison.left_out,
            note=_compared_on(comparison, judged),
        ),
        false_negatives=tuple(one for key, table in estimates.items() for one in shown_estimates(labels[key], table, reviewed[key])),
        calibration=_calibration(storage, record, selections, labels),
        yields=_yields(comparison),
        slices=shown_slices(estimates[chosen.selection_id], measured(storage, chosen, "slices.parquet")),
        hardest=hardest(storage, record, chosen),
        suspicious=suspicious(storage, record, chosen),
        zeros=zeros,
        zero_count=zero_count,
        hubs=hubs(storage, record, chosen),
        cost=tuple(_cost(stored_stage(storage, reference)) for reference in record.stages),
        planned=tuple(Planned(**one.model_dump()) for one in (*record.outlays, total(record.outlays))) if record.outlays else (),
        staleness=staleness_section(storage, record, chosen),
        absent={} if "calibrate" in record.roles else {"calibration": _uncalibrated(record)},
    )


def _compared_on(comparison: Comparison, judged: bool) -> str:
    """Which queries the recipes are compared on."""
    said = [f"Compared on {comparison.queries}."] if comparison.queries else []
    said += ["Leak is measured on the judged queries."] if judged else []
    said += [f"{note[0].upper()}{note[1:]}." for note in comparison.notes]
    return " ".join(said)


def _warnings(storage: Storage, record: RoundRecord) -> Iterator[str]:
    """What the run's summary warns of too."""
    calibrated = stored_stage(storage, record.roles["calibrate"]).parts[0].meta if "calibrate" in record.roles else None
    floor = stored_settings(record).truth.calibration.auc_floor
    for one in teacher_warnings(record.settings.get("teacher_facts") or {}, floor, calibrated, review_verdict(storage, record)):
        yield f"{one[0].upper()}{one[1:]}."


def _uncalibrated(record: RoundRecord) -> str:
    if "partial" in record.settings:
        return "The teacher scored only what the recipes needed (teacher.lazy): nothing is calibrated or estimated on a part."
    return "The round has no teacher."


def _facts(record: RoundRecord, recipe: str, baseline: str) -> Facts:
    settings = {
        name: value for name, value in record.settings.items() if name not in ("depths", "facts", "teacher_facts", "sources", "partial")
    }
    teacher = settings.get("teacher") or {}
    others = [_model(str(one["path"])) for one in teacher.get("ensemble") or ()]
    return Facts(
        dataset=record.dataset,
        round=record.number,
        created=record.created,
        documents=record.settings["facts"]["documents"],
        queries=record.settings["facts"]["queries"],
        model=_model(str(settings["model"]["path"])),
        teacher=", ".join([_model(str(teacher["path"])) if teacher.get("path") else "trained in the run", *others]) if teacher else "",
        recipe=recipe,
        baseline=baseline,
        settings=settings,
    )


def _model(path: str) -> str:
    return PACKAGED.partition(":")[2] if path in (PACKAGED, "packaged") else Path(path).name


def _funnel(decided: StageManifest, recipe: str) -> Funnel:
    decisions = sum_meta(decided, "decisions")
    reasons = sum_meta(decided, "reasons")
    unscored = decisions.get("unscored", 0)
    rejected = {name: count for name, count in reasons.items() if name != "unscored"}
    rejected |= {"unscored": reasons["unscored"] - unscored} if reasons.get("unscored", 0) > unscored else {}
    return Funnel(
        recipe=recipe,
        candidates=sum(decisions.values()),
        positives=decisions.get("positive", 0),
        pseudo_positives=decisions.get("pseudo_positive", 0),
        rejected=tuple(Rejection(reason=name, count=count, meaning=REASONS.get(name, "")) for name, count in rejected.items()),
        unscored=unscored,
        not_drawn=decisions.get("not_drawn", 0),
        negatives=decisions.get("negative", 0),
    )


def _measures(storage: Storage, selection: SelectionRecord) -> dict[str, Any]:
    """What was measured of a selection; nothing where nothing was."""
    return stored_stage(storage, selection.measures).parts[0].meta if selection.measures is not None else {}


def _calibration(
    storage: Storage, record: RoundRecord, selections: Sequence[SelectionRecord], labels: Mapping[str, str]
) -> Calibration | None:
    """On a review where one calibrates the teacher, else on labels."""
    measures = {labels[one.selection_id]: stored_stage(storage, one.measures).parts[0] for one in selections if one.measures is not None}
    reviewed = [part for part in measures.values() if part.meta.get("calibration")]
    if not reviewed and "calibrate" not in record.roles:
        return None
    part = reviewed[0] if reviewed else stored_stage(storage, record.roles["calibrate"]).parts[0]
    meta = part.meta["calibration"] if reviewed else part.meta
    bins = tuple(
        ReliabilityBin(predicted=row["predicted"], observed=row["observed"], pairs=row["pairs"])
        for row in read_table(storage, part.file("reliability.parquet")).to_pylist()
    )
    warning = "" if meta["verdict"] == "can tell" else f"The verdict on this teacher is: {meta['verdict']}."
    return Calibration(
        bins=bins,
        brier=meta.get("brier"),
        auc=meta.get("auc"),
        method=meta.get("kind") or "",
        source=_FITTED_ON_REVIEW if reviewed else meta.get("source") or "",
        warning=warning,
        reviewed=tuple(_reviewed(recipe, check) for recipe, one in measures.items() for check in one.meta.get("review_check") or ()),
    )


def _reviewed(recipe: str, check: dict[str, Any]) -> Reviewed:
    return Reviewed(
        recipe=recipe,
        calibration=check["calibration"],
        expected=check["expected"],
        reviewed=check["observed"],
        low=check["low"],
        high=check["high"],
        pairs=check["pairs"],
    )


def _yields(comparison: Comparison) -> Yields:
    rows = []
    for one in comparison.outcomes:
        shown = one.metrics
        served = round(shown.served * shown.queries)
        rows.append(YieldRow(recipe=one.recipe, queries=shown.queries, served=served, negatives_per_query=shown.negatives_per_query))
    return Yields(rows=tuple(rows))


def _cost(manifest: StageManifest) -> Cost:
    counters = manifest.counters
    size = sum(file.bytes for part in manifest.parts for file in part.files)
    return Cost(
        stage=f"{manifest.stage}: {written}"
        if (written := manifest.settings.get("format")) and manifest.stage == "shards"
        else manifest.stage,
        seconds=manifest.seconds,
        model_calls=counters.get("model_calls", 0),
        cache_hits=counters.get("cache_hits", 0),
        bytes=size,
    )
