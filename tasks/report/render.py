"""From a report's data to one HTML file that asks for nothing from outside."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.report.data import ReportData
from tasks.report.glance import tiles
from tasks.report.parts import parts
from tasks.report.words import date, line, marked

_FOLDER = Path(__file__).parent


def render_report(data: ReportData) -> str:
    """The report as HTML: no script, no request to anywhere, all texts of the user escaped. Equal data give equal text."""
    facts = data.facts
    shown = {
        "retriever": facts.model,
        "teacher": facts.teacher,
        "recipe": facts.recipe,
        "published": date(facts.created) if facts.created else "",
    }
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["marked"] = marked
    return environment.get_template("report.html.j2").render(
        dataset=line(facts.dataset, 120),
        round=facts.round,
        facts={name: line(value, 200) for name, value in shown.items() if value},
        tiles=tiles(data),
        warnings=[line(each, 1000) for each in data.warnings],
        notes=[line(each, 1000) for each in data.notes],
        parts=parts(data),
    )


def write_report(data: ReportData, path: Path) -> Path:
    """Write the report; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_report(data), encoding="utf-8", newline="\n")
    return path
