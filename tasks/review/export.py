"""A drawn sample as a file that people fill in, and the manifest beside it.

Rows are shuffled by hash. Reviewers see texts only, unless evidence is asked for; the probabilities are kept in the manifest, where no
spreadsheet rounds them.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.errors import InputError
from tasks.review.cells import mask
from tasks.review.sample import Manifest, Origin, manifest_of
from tasks.review.settings import ExportSettings
from tasks.store.keys import digest

COLUMNS = ("pair", "label", "note", "query", "positives", "title", "text", "query_id", "doc_id")
EVIDENCE = ("stratum", "inclusion", "teacher_score", "dense_rank", "dense_score", "recipes")
_BETWEEN = "\n\n"
_BOM = "\ufeff"


def export_review(sample: pa.Table, origin: Origin, target: Path, settings: ExportSettings | None = None) -> Manifest:
    """Write a sample to ``target`` and its manifest to the sibling ``<name>.review.json``.

    Args:
        sample: as :data:`tasks.review.sample.SAMPLE`.
        origin: the round, the draw, the strata.
        target: the file; its ending should fit the format.
        settings: format, and what reviewers see.

    Raises:
        InputError: the sample does not fit its strata, or the file or its manifest is there already: it may hold somebody's labels.
    """
    settings = settings or ExportSettings()
    for path in (target, manifest_path(target)):
        if path.exists():
            raise InputError(f"{path} is there already", "give another name, or move it away: it may hold labels")
    manifest = manifest_of(sample, origin)
    rows = rows_of(sample, manifest, settings)
    text = as_csv(rows, settings) if settings.format == "csv" else as_jsonl(rows)
    manifest_path(target).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    with target.open("w", encoding="utf-8", errors="replace", newline="") as file:
        file.write(text)
    return manifest


def manifest_path(target: Path) -> Path:
    """Where the manifest of an exported file lies."""
    return target.with_name(f"{target.stem}.review.json")


def rows_of(sample: pa.Table, manifest: Manifest, settings: ExportSettings) -> list[dict[str, Any]]:
    """The rows for reviewers, in an order that tells nothing."""
    names = COLUMNS + (EVIDENCE if settings.evidence else ())
    rows = []
    for one, row in zip(manifest.pairs, sample.to_pylist(), strict=True):
        given = {"pair": one.pair, "label": "", "note": "", **row}
        for name in ("query", "title", "text"):
            given[name] = _cut(row[name] or "", settings.max_text)
        given["positives"] = [_cut(text, settings.max_text) for text in row["positives"] or []]
        rows.append({name: given[name] for name in names})
    return sorted(rows, key=lambda row: digest("order", manifest.origin.seed, row["pair"]))


def as_csv(rows: list[dict[str, Any]], settings: ExportSettings) -> str:
    """Rows as CSV with a header: comma, CRLF, quotes where needed, no cell that is a formula."""
    file = io.StringIO(newline="")
    names = list(rows[0]) if rows else list(COLUMNS)
    writer = csv.writer(file)
    writer.writerow(names)
    writer.writerows([_cell(row[name], settings) for name in names] for row in rows)
    return (_BOM if settings.bom else "") + file.getvalue()


def as_jsonl(rows: list[dict[str, Any]]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _cell(value: Any, settings: ExportSettings) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return mask(_cut(_BETWEEN.join(value), settings.max_text))
    return mask(value) if isinstance(value, str) else str(value)


def _cut(text: str, most: int) -> str:
    return text if not most or len(text) <= most else text[: most - 1] + "…"
