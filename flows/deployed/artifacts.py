"""What a run leaves in the UI: a table, a summary with plots, a link to the report."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import escape
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from flows.deployed.pages import Pictures, is_made, keep_page, page_name, report_key
from flows.rates import shown
from flows.results import MineResult, SelectionResult
from flows.rounds import RoundsResult
from flows.staleness import staleness_curves
from flows.stored import measured
from flows.summary import REASONS
from tasks.audit.records import RoundRecord, list_rounds
from tasks.report.pictures import bars_picture, histograms, scores_picture, staleness_picture
from tasks.runner.runner import Context
from tasks.store.storage import Storage

REPORTS_URL = "HARDMINE_REPORTS_URL"  # where the reports of the root HARDMINE_REPORTS_ROOT are served
REPORTS_ROOT = "HARDMINE_REPORTS_ROOT"
_SWEEP = 200  # queries of the report's sweeps
_REASONS = 8


def artifact_key(kind: str, dataset: str) -> str:
    """A key that Prefect takes: lower-case letters, digits and dashes.

    >>> artifact_key("round", "Cran_field")
    'round-cran-field'
    """
    return re.sub(r"[^a-z0-9]+", "-", f"{kind}-{dataset}".lower()).strip("-")


def publish_artifacts(context: Context, record: RoundRecord, result: MineResult, with_report: bool) -> None:
    """Table, summary and, if asked for, the report of a round."""
    description = f"Round {result.round}"
    rows = [row for one in result.selections for row in selection_rows(one)]
    create_table_artifact(table=rows, key=artifact_key("round", result.dataset), description=description)
    text = summary(context.storage, record, result)
    create_markdown_artifact(markdown=text, key=artifact_key("summary", result.dataset), description=description)
    if with_report:
        link_report(context, record, [])


def publish_loop(result: RoundsResult) -> list[dict[str, Any]]:
    """A table of the loop's checkpoints, the model that it began with first.

    Returns:
        The table's rows; the measure that chose is a column under its own name.
    """
    measured = [("before", result.start, None), *((f"after {one.mined.round}", one.measured, one) for one in result.rounds)]
    rows = []
    for name, reached, one in measured:
        if reached is not None:
            value = reached.measures[result.measure]
            row = {"checkpoint": name, result.measure: value["mean"], "low": value["low"], "high": value["high"], "model": reached.model}
            lost = "" if one is None or one.lost is None else f"{100 * one.lost:.0f} %"
            rows.append({**row, "loss share lost by the round before": lost, "best": "yes" if reached.model == result.best else ""})
    create_table_artifact(
        table=rows, key=artifact_key("rounds", result.dataset), description=f"{len(result.rounds)} rounds, on split {result.split}"
    )
    return rows


def selection_rows(selection: SelectionResult) -> list[dict[str, Any]]:
    """A selection as rows of a table: decisions, then reasons."""
    decided = [("decision", name, count) for name, count in selection.decisions.items()]
    rejected = [("rejected because", REASONS.get(name, name.replace("_", " ")), count) for name, count in selection.reasons.items()]
    return [{"recipe": selection.recipe, "what": what, "name": name, "candidates": count} for what, name, count in (*decided, *rejected)]


def summary(storage: Storage, record: RoundRecord, result: MineResult) -> str:
    """The round on a page of Markdown, its plots as PNG data URIs (the UI drops inline SVG)."""
    chosen = result.selection
    seconds = sum(stage.seconds for stage in result.stages)
    facts = {
        "documents": f"{result.documents:,}",
        "queries": f"{result.queries:,}",
        "negatives": f"{chosen.decisions.get('negative', 0):,}",
        "model calls in this run": f"{sum(stage.model_calls for stage in result.stages):,}",
        "computing": f"{seconds:,.1f} s",
    }
    lines = [f"## Round {result.round}, recipe {chosen.recipe}", "", *_table(("fact", "value"), facts.items()), ""]
    lines += ["### False negatives", "", *estimates_lines(result.selections), ""]
    lines += [f"> {_plain(note)}\n" for note in result.notes]
    reasons = {REASONS.get(name, name.replace("_", " ")): count for name, count in list(chosen.reasons.items())[:_REASONS]}
    table = measured(storage, record.selection(chosen.selection_id), "histogram.parquet")
    curves = staleness_curves(storage, list_rounds(storage, record.dataset)) if result.staleness.earlier else ()
    with Pictures(storage, record) as pictures:
        if reasons:
            lines += [f"![why candidates were rejected]({pictures.of(bars_picture, 'Why candidates were rejected', reasons)})", ""]
        lines += [f"![scores by decision]({pictures.of(scores_picture, one)})" for one in (histograms(table) if table is not None else ())]
        lines += [f"![what is left of earlier rounds' negatives]({pictures.of(staleness_picture, curves)})"] if curves else []
    lines += ["", "### Training files", "", *(f"- **{name}** `{folder}`" for name, folder in chosen.shards.items())]
    return "\n".join(lines)


def link_report(context: Context, record: RoundRecord, beside: Sequence[str | dict[str, Any]]) -> str:
    """Write the HTML report under the root, unless what it shows is as it was, and link it.

    Returns:
        Where it is.
    """
    name = write_report(context, record, beside)
    place = f"{context.storage.root}/{name}"
    link = place if "://" in place else Path(place).as_uri()
    if os.environ.get(REPORTS_URL) and os.environ.get(REPORTS_ROOT) == context.storage.root:
        link = f"{os.environ[REPORTS_URL]}/{Path(name).name}"
    create_link_artifact(
        link=link, link_text=f"Report of round {record.dataset}/{record.number}", key=artifact_key("report", record.dataset)
    )
    return place


def write_report(context: Context, record: RoundRecord, beside: Sequence[str | dict[str, Any]]) -> str:
    """The HTML report, made again only if what it shows has changed.

    Returns:
        Its name under the root.
    """
    name, key = page_name(record, ".html"), report_key(context.storage, record, list(beside), _SWEEP)
    if not is_made(context.storage, name, key):
        from flows.report import report  # a third of what a flow would import

        local = report(context, record, context.storage.scratch() / Path(name).name, beside, None, _SWEEP)
        keep_page(context.storage, name, local.read_bytes(), key)
    return name


def estimates_lines(selections: Sequence[SelectionResult]) -> list[str]:
    """What is known of the selections' false negatives, as lines of Markdown."""
    rows = []
    for one in selections:
        for name, words in shown(one.measures).items():
            rate, low, high, pairs, _ = one.measures["estimates"][name]
            if rate is not None:
                rows.append((one.recipe, f"{100 * rate:.1f} %", f"{100 * low:.1f} to {100 * high:.1f} %", f"{pairs:,}", words))
    if not rows:
        return ["No estimate: there are no judgements, no teacher, no review and no planted positive."]
    return _table(("recipe", "estimate", "interval", "pairs", "share of"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    written = [f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *written]


def _plain(text: str) -> str:
    """Names are the user's: nothing in them is markup."""
    return str(escape(text)).replace("|", "\\|").replace("\n", " ")
