"""Reviewed and promoted labels in qrels: a new table of judgements, where each came from, and a file that ingest reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tasks.errors import InputError
from tasks.review.promote import PROMOTED
from tasks.sql import run

JUDGEMENTS = pa.schema([("query_id", pa.string()), ("doc_id", pa.string()), ("relevance", pa.int32())])
LABELS = pa.schema([("query_id", pa.string()), ("doc_id", pa.string()), ("label", pa.string())])
PROVENANCE = pa.schema(
    [
        *JUDGEMENTS,
        ("provenance", pa.string()),  # review | promoted; pairs that are not here have the user's own label
        ("signals", pa.list_(pa.string())),
    ]
)

_SQL = """
WITH present AS (
  SELECT q.query_id, q.doc_id, q.relevance, coalesce(p.provenance, 'labels') AS provenance, p.signals
  FROM qrels q LEFT JOIN provenance p ON q.query_id = p.query_id AND q.doc_id = p.doc_id),
reviewed AS (
  SELECT query_id, doc_id, CASE label WHEN 'relevant' THEN $relevant ELSE $not END::INTEGER AS relevance, 'review' AS provenance,
    ['review'] AS signals
  FROM labels WHERE label IN ('relevant', 'not')),
news AS (
  SELECT * FROM reviewed
  UNION ALL
  SELECT query_id, doc_id, $relevant::INTEGER, 'promoted', signals FROM promoted ANTI JOIN reviewed USING (query_id, doc_id))
SELECT coalesce(o.query_id, n.query_id) AS query_id, coalesce(o.doc_id, n.doc_id) AS doc_id,
  CASE WHEN kept THEN o.relevance ELSE n.relevance END AS relevance,
  CASE WHEN kept THEN o.provenance ELSE n.provenance END AS provenance,
  CASE WHEN kept THEN o.signals ELSE n.signals END AS signals,
  o.relevance AS old, n.relevance AS new, n.provenance AS source,
  CASE WHEN n.query_id IS NULL THEN 'kept'
    WHEN o.query_id IS NULL THEN
      CASE WHEN n.provenance = 'promoted' THEN 'promoted' WHEN n.relevance >= $least THEN 'added_relevant' ELSE 'added_not' END
    WHEN (o.relevance >= $least) = (n.relevance >= $least) THEN 'confirmed'
    WHEN kept THEN 'conflicts' ELSE 'replaced' END AS outcome
FROM present o FULL JOIN news n ON o.query_id = n.query_id AND o.doc_id = n.doc_id,
  LATERAL (SELECT n.query_id IS NULL
    OR (o.query_id IS NOT NULL AND (o.provenance = 'labels' OR (o.provenance = 'review' AND n.provenance = 'promoted'))) AS kept)
ORDER BY query_id, doc_id"""
OUTCOMES = ("kept", "added_relevant", "added_not", "promoted", "confirmed", "replaced", "conflicts")


@dataclass(frozen=True)
class Merged:
    """New qrels.

    Args:
        qrels: query_id, doc_id, relevance, by query_id and doc_id.
        provenance: as :data:`PROVENANCE`, only pairs whose label is not the user's own.
        conflicts: query_id, doc_id, relevance (kept), reviewed (what the review or promotion would give), source.
        counts: pairs by outcome (:data:`OUTCOMES`).
    """

    qrels: pa.Table
    provenance: pa.Table
    conflicts: pa.Table
    counts: dict[str, int]


def merge_labels(
    qrels: pa.Table,
    labels: pa.Table,
    promoted: pa.Table | None = None,
    provenance: pa.Table | None = None,
    positive_min_grade: int = 1,
) -> Merged:
    """Qrels with reviewed and promoted labels.

    The user's own labels stay as they are; where a review says otherwise, that is a conflict and is reported. Labels that an
    earlier review or promotion gave yield to this one, but a review never to a promotion. Unsure pairs change nothing.

    Args:
        qrels: query_id, doc_id, relevance, each pair once; other columns are ignored.
        labels: query_id, doc_id, label, each pair once, as :func:`tasks.review.records.combined` gives them.
        promoted: as :func:`tasks.review.promote.promote` gives them.
        provenance: of ``qrels``, from the merge that made them.
        positive_min_grade: grades from here on are positive. Relevant becomes 1 or this if it is more; not relevant 0 or less than this.
    """
    tables = {
        "qrels": qrels.select(JUDGEMENTS.names).cast(JUDGEMENTS),
        "labels": labels.select(LABELS.names).cast(LABELS),
        "promoted": (PROMOTED.empty_table() if promoted is None else promoted).select(PROMOTED.names).cast(PROMOTED),
        "provenance": PROVENANCE.empty_table() if provenance is None else provenance.cast(PROVENANCE),
    }
    grades = {"relevant": max(1, positive_min_grade), "not": min(0, positive_min_grade - 1), "least": positive_min_grade}
    merged = run(_SQL, tables, grades)
    return Merged(
        qrels=merged.select(JUDGEMENTS.names).cast(JUDGEMENTS),
        provenance=run("SELECT * FROM m WHERE provenance <> 'labels'", {"m": merged.select(PROVENANCE.names)}).cast(PROVENANCE),
        conflicts=run(
            "SELECT query_id, doc_id, old AS relevance, new AS reviewed, source FROM m WHERE outcome = 'conflicts'", {"m": merged}
        ),
        counts=_counted(merged["outcome"]),
    )


def write_qrels(merged: Merged, target: Path) -> Path:
    """Write qrels as tab-separated text with BEIR's header, and their provenance to the sibling ``<name>.provenance.jsonl``.

    Returns:
        The sidecar's path.

    Raises:
        InputError: an id cannot stand in such a file.
    """
    text = as_tsv(merged.qrels)
    sidecar = target.with_name(f"{target.stem}.provenance.jsonl")
    sidecar.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in merged.provenance.to_pylist()), encoding="utf-8")
    target.write_text(text, encoding="utf-8", newline="")
    return sidecar


def as_tsv(qrels: pa.Table) -> str:
    """Qrels as ``query-id``, ``corpus-id``, ``score``, without quoting.

    Raises:
        InputError: an id has a tab or a line end, or begins with a quote.
    """
    lines = ["query-id\tcorpus-id\tscore\n"]
    for query_id, doc_id, relevance in zip(*(qrels[name].to_pylist() for name in JUDGEMENTS.names), strict=True):
        for one in (query_id, doc_id):
            if one.startswith('"') or any(character in one for character in "\t\r\n"):
                raise InputError(f"the id {one!r} cannot stand in a TSV file", "write qrels as JSON lines, or change the id in the source")
        lines.append(f"{query_id}\t{doc_id}\t{relevance}\n")
    return "".join(lines)


def as_jsonl(qrels: pa.Table) -> str:
    """Qrels as JSON lines, for datasets of format jsonl."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in qrels.select(JUDGEMENTS.names).to_pylist())


def read_provenance(path: Path) -> pa.Table:
    """The sidecar that :func:`write_qrels` wrote, as :data:`PROVENANCE`."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        return pa.Table.from_pylist(rows, schema=PROVENANCE)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path}: no provenance of qrels ({error})", "merge the reviews again") from error


def _counted(outcomes: pa.ChunkedArray) -> dict[str, int]:
    counts = {entry["values"]: entry["counts"] for entry in outcomes.value_counts().to_pylist()}
    return {outcome: int(counts.get(outcome, 0)) for outcome in OUTCOMES}
