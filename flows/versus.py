"""Why mine with care: plain top-K beside the round's recipe, on the same candidates."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from flows.rates import PLAIN, has_plain, rate, shown
from flows.results import MineResult, SelectionResult
from flows.stored import find_round, stored_stage, stored_table
from flows.summary import REASONS
from tasks.audit.explain import CandidateStory, show_query
from tasks.audit.records import SelectionRecord
from tasks.calibration import ON_LABELS
from tasks.sql import run
from tasks.store.storage import Storage, open_storage
from tasks.store.tables import read_parts

_EXAMPLES = 2

# What top-K trains with as a negative and the recipe refused as likely relevant, one a query, most likely first.
_REFUSED = """
SELECT query_id, doc_id, label_evidence FROM (
  SELECT p.query_id, p.doc_id, s.label_evidence, coalesce(s.teacher_calibrated, 0) AS likely, s.dense_score,
         row_number() OVER (PARTITION BY p.query_id ORDER BY coalesce(s.teacher_calibrated, 0) DESC, s.dense_score DESC, p.doc_id) AS place
  FROM plain p JOIN chosen c USING (query_id, doc_id) JOIN scored s USING (query_id, doc_id)
  WHERE p.decision = 'negative' AND c.decision = 'rejected' AND list_contains(c.reasons, 'likely_relevant'))
WHERE place = 1 ORDER BY likely DESC, dense_score DESC, query_id LIMIT $examples"""


@dataclass(frozen=True)
class Refused:
    """A document that top-K would train with as a negative."""

    query_id: str
    query: str
    positive: CandidateStory
    document: CandidateStory
    reasons: list[str]
    evidence: float | None


def refused_examples(result: MineResult) -> list[Refused]:
    """A few documents that plain top-K takes for negatives and the round's recipe refused as likely relevant."""
    storage = open_storage(result.root)
    record = find_round(storage, result.round)
    table = stored_table(storage, record)
    columns = ["query_id", "doc_id", "decision", "reasons"]
    both = [stored_stage(storage, record.selection(name).select).parts for name in (PLAIN, result.selection_id)]
    plain, chosen = (read_parts(storage, parts, "decisions.parquet", columns) for parts in both)
    scored = read_parts(storage, table.scored, "scored.parquet", ["query_id", "doc_id", "dense_score", "teacher_calibrated"])
    scored = scored.append_column("label_evidence", _evidence(storage, record.selection(result.selection_id), scored.num_rows))
    pairs = run(_REFUSED, {"plain": plain, "chosen": chosen, "scored": scored}, {"examples": _EXAMPLES})
    found = []
    for query_id, doc_id, evidence in zip(*(pairs[name].to_pylist() for name in pairs.column_names), strict=True):
        story = show_query(storage, record, query_id, result.selection_id)
        document = next(one for one in story.candidates if one.doc_id == doc_id)
        found.append(Refused(query_id, story.text, story.positives[0], document, document.decisions[0].reasons, evidence))
    return found


def print_versus(console: Console, result: MineResult) -> None:
    """The table and the examples, which a summary ends with; nothing where the round has no plain top-K."""
    sides = {one.recipe: one for one in result.selections}
    chosen = result.selection
    if not has_plain(result):
        return
    plain = sides[PLAIN]
    title = "Why mine with care: the same candidates, two recipes"
    table = Table("", f"plain top-{_wanted(plain)}", chosen.recipe, title=title, title_justify="left")
    both = shown(plain.measures)
    for name, words in shown(chosen.measures).items():
        if both.get(name) == words and not name.startswith("in_batch"):
            table.add_row(words, *(rate(side.measures, name) for side in (plain, chosen)))
    table.add_row("hardness: mean similarity of the negatives", *(_number(side.measures.get("hardness")) for side in (plain, chosen)))
    table.add_row("queries with all their negatives", *(_share(side.measures.get("yield")) for side in (plain, chosen)))
    console.print(table)
    for one in refused_examples(result):
        lines = [
            f"[bold]query[/bold]    {_short(one.query)}",
            f"[green]positive[/green] {_short(one.positive.text)}",
            f"[yellow]refused[/yellow]  {_short(one.document.text)}",
            f"[dim]because  {escape(', '.join(REASONS.get(reason, reason) for reason in one.reasons))}: {_why(one)}[/dim]",
        ]
        console.print(Panel("\n".join(lines), title="top-K would train with this as a negative", title_align="left"))


def _evidence(storage: Storage, chosen: SelectionRecord, rows: int) -> pa.ChunkedArray:
    """What neighbouring labels say of each candidate; NULL where the recipe did not ask."""
    if "evidence" not in chosen.features:
        return pa.chunked_array([pa.nulls(rows, pa.float32())])
    parts = stored_stage(storage, chosen.features["evidence"]).parts
    return read_parts(storage, parts, "features.parquet", ["label_evidence"])["label_evidence"]


def _why(refused: Refused) -> str:
    """The values that the refusal goes by."""
    scores = {**refused.document.scores, "label_evidence": refused.evidence}
    told = {
        "label_evidence": "label evidence {:.2f}",
        "teacher_sigmoid": "teacher {:.2f}",
        "teacher_calibrated": f"as a probability {{:.2f}} ({ON_LABELS})",
        "dense_score": "similarity {:.2f}",
    }
    return ", ".join(words.format(scores[name]) for name, words in told.items() if isinstance(scores.get(name), float))


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else ""


def _share(value: object) -> str:
    return f"{100 * value:.1f} %" if isinstance(value, float) else ""


def _wanted(side: SelectionResult) -> int:
    return max((int(number) for number in side.negatives_per_row), default=0)


def _short(text: str, width: int = 110) -> str:
    line = " ".join(text.split())
    return escape(line if len(line) <= width else line[: width - 1] + "…")
