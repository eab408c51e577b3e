"""RLHN: judges look at what a recipe emitted, and the recipe is applied anew with what they said. The judges' answers are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.agreeing import judge_agreement
from flows.asking import About, ask_for
from flows.judged_recipe import with_judgements
from flows.selection import Decided, Table, decide
from tasks.audit.judged import JudgeAgreement, JudgedRecord
from tasks.errors import UsageError
from tasks.judge.cascade import cascade
from tasks.judge.questions import Verdict, judge_prompt, judge_questions
from tasks.judge.settings import JudgeSettings
from tasks.remote.ask import Asked, Question
from tasks.remote.budget import Budget
from tasks.remote.settings import ChatSettings
from tasks.review.records import sure_labels
from tasks.runner.runner import Context
from tasks.schema import JUDGEMENTS, PROMOTED
from tasks.select.recipe import Recipe
from tasks.sql import run
from tasks.store.tables import keep_table, read_table, take_texts
from tasks.templates import document_inputs

#: negatives that nobody judged, each with a labelled positive of its query: none that a judge or a promotion made
_PAIRS = """
WITH known AS (
  SELECT query_id, arg_min(doc_partition, doc_id) AS positive_partition, arg_min(doc_row, doc_id) AS positive_row
  FROM labelled WHERE is_positive AND coalesce(provenance, '') <> $promoted GROUP BY query_id)
SELECT n.query_id, n.doc_id, min(n.query_row) AS query_row, min(n.doc_partition) AS doc_partition, min(n.doc_row) AS doc_row,
  any_value(k.positive_partition) AS positive_partition, any_value(k.positive_row) AS positive_row
FROM rows n LEFT JOIN known k ON k.query_id = n.query_id
LEFT JOIN judged j ON j.query_id = n.query_id AND j.doc_id = n.doc_id
WHERE n.slot > 0 AND j.query_id IS NULL GROUP BY n.query_id, n.doc_id ORDER BY n.query_id, n.doc_id"""
_LABELS = ["query_id", "doc_id", "doc_partition", "doc_row", "is_positive", "provenance"]


@dataclass
class JudgedRecipe:
    """A recipe with what judges said of its negatives in it.

    Args:
        recipe: as it selects now.
        settings: of the judging.
        table: :data:`tasks.schema.JUDGEMENTS`, by query and document.
        stored: path, bytes and checksum of the table in the root.
        waves: how often was judged.
        unjudged: negatives that nobody judged.
        agreement: of judges, teacher and reviewers.
        stopped: why it ended early; empty: it did not.
        notes: for the reader.
    """

    recipe: Recipe
    settings: JudgeSettings
    table: pa.Table
    stored: tuple[str, int, str]
    waves: int = 0
    unjudged: int = 0
    agreement: tuple[JudgeAgreement, ...] = ()
    stopped: str = ""
    notes: list[str] = field(default_factory=list)

    def relevant(self) -> int:
        """Pairs at or over the threshold."""
        return int(np.sum(_values(self.table, "relevance") >= np.float32(self.settings.threshold)))

    def relabelled(self) -> int:
        """Pairs that become positives, of a query no more than it may get."""
        if self.settings.action != "relabel":
            return 0
        above = _values(self.table, "relevance") > np.float32(self.settings.relabel_from)
        counts = self.table["query_id"].filter(pa.array(above)).value_counts()
        return sum(min(one["counts"], self.settings.relabel_per_query) for one in counts.to_pylist())

    def record(self, dataset: str, number: int, selection_id: str) -> JudgedRecord:
        """For the audit."""
        path, size, checksum = self.stored
        cheap = _values(self.table, "cheap")
        return JudgedRecord(
            dataset=dataset,
            round=number,
            selection_id=selection_id,
            recipe=self.recipe.name,
            created=datetime.now(UTC).isoformat("T", "milliseconds"),
            settings=self.settings.model_dump(mode="json"),
            waves=self.waves,
            pairs=self.table.num_rows,
            flagged=int(np.sum(cheap >= np.float32(self.settings.flag))),
            relevant=self.relevant(),
            relabelled=self.relabelled(),
            unjudged=self.unjudged,
            agreement=self.agreement,
            stopped=self.stopped,
            path=path,
            bytes=size,
            checksum=checksum,
        )


def judge_recipe(
    context: Context,
    table: Table,
    recipe: Recipe,
    settings: JudgeSettings,
    seed: int,
    number: int = 0,
    only: frozenset[str] | None = None,
    written: str = "",
    export: Path | None = None,
    budget: Budget | None = None,
) -> JudgedRecipe:
    """Judge a recipe's negatives, and what takes the place of those that are dropped, until all negatives are judged.

    Args:
        context: storage, executor, progress.
        table: the scored round.
        recipe: as composed.
        settings: judges, thresholds, budget.
        seed: of random draws.
        number: of the round, for the audit; 0: it is not published yet.
        only: ids of the queries whose negatives are judged; none: of all.
        written: only documents whose ids begin so are judged.
        export: a file that open questions are written to instead of being asked.
        budget: the command's, of which other rounds spent some already; none: this is the only judging.

    Raises:
        Exported: questions are open, and in the file.
        UsageError: the recipe cannot be judged so, the prompt is wrong, or a key or price is missing; nothing was asked.
        ModelError: an endpoint refuses.
    """
    check_judge(settings, recipe, keys=export is None)
    if table.is_partial:
        raise UsageError("the candidates are partial (teacher.lazy), and a judged recipe draws others", "mine with teacher.lazy: false")
    judging = _Judging(context, table, settings, number, only, written, export, budget or Budget(settings.budget))
    found = JudgedRecipe(recipe, settings, JUDGEMENTS.empty_table(), ("", 0, ""))
    while True:
        found.stored = keep_table(context.storage, f"judged/{table.labels.name}", found.table)
        found.recipe = with_judgements(recipe, settings, found.stored, "keep")
        pairs = judging.open_pairs(decide(context, table, found.recipe, seed), found.table)
        if not pairs.num_rows or found.waves == settings.rounds or found.stopped:
            break
        made, found.stopped = judging.judge(pairs)
        answered = made.filter(pa.array(np.isfinite(_values(made, "relevance")))) if found.stopped else made
        found.table = pa.concat_tables([found.table, answered]).sort_by([("query_id", "ascending"), ("doc_id", "ascending")])
        found.waves += 1
    unanswered = int(np.sum(~np.isfinite(_values(found.table, "relevance"))))
    found.unjudged = pairs.num_rows + unanswered
    found.agreement = judging.agreement(found.table, settings.threshold)
    found.recipe = with_judgements(recipe, settings, found.stored, settings.unjudged)
    found.notes = list(_notes(found, unanswered))
    return found


def judge_budget(settings: JudgeSettings | None) -> Budget | None:
    """One budget for all rounds and datasets of a command; none: nothing is judged."""
    return Budget(settings.budget) if settings else None


def check_judge(settings: JudgeSettings, recipe: Recipe | None = None, keys: bool = True) -> None:
    """Refuse what could not be judged, before anything runs.

    Raises:
        UsageError: why.
    """
    judge_prompt(settings)
    settings.budget.check(*settings.judges)
    for judge in settings.judges if keys else ():
        judge.key()
    if recipe is not None and any(rule.kind == "judged_relevant" for rule in recipe.rules):
        raise UsageError(f"recipe {recipe.name!r} has judgements in it already", "name the recipe that it was made from: --recipe")
    if recipe is not None and settings.action == "relabel" and (recipe.pseudo_positives is not None or recipe.per_positive):
        why = "has pseudo-positives of its own" if recipe.pseudo_positives is not None else "decides for each positive apart"
        raise UsageError(f"recipe {recipe.name!r} {why}, and does not go with judge.action: relabel", "take drop_negative or drop_pair")


class _Judging:
    """Pairs of one scored round before judges that share a budget."""

    def __init__(
        self,
        context: Context,
        table: Table,
        settings: JudgeSettings,
        number: int,
        only: frozenset[str] | None,
        written: str,
        export: Path | None,
        budget: Budget,
    ) -> None:
        self._export, self._budget = export, budget
        self._only, self._written = only, written
        self._context, self._table, self._settings, self._number = context, table, settings, number
        self._prompt = judge_prompt(settings)

    def open_pairs(self, outcome: Decided, judged: pa.Table) -> pa.Table:
        """Negatives in training rows that nobody judged, their places, and a labelled positive's, or NULL; ``part``: of the queries."""
        found = []
        for number, part in enumerate(outcome.decisions.parts):
            rows = read_table(self._context.storage, part.file("rows.parquet"))
            if self._only is not None:
                rows = rows.filter(pc.is_in(rows["query_id"], value_set=pa.array(sorted(self._only), pa.string())))
            if self._written:
                rows = rows.filter(pc.or_(pc.equal(rows["slot"], 0), pc.starts_with(rows["doc_id"], self._written)))
            labelled = read_table(self._context.storage, self._table.scored[number].file("scored.parquet"), _LABELS)
            tables = {"rows": rows, "judged": judged.select(["query_id", "doc_id"]), "labelled": labelled}
            pairs = run(_PAIRS, tables, {"promoted": PROMOTED})
            found.append(pairs.append_column("part", pa.array(np.full(pairs.num_rows, number))))
        return pa.concat_tables(found)

    def judge(self, pairs: pa.Table) -> tuple[pa.Table, str]:
        """:data:`tasks.schema.JUDGEMENTS` of some pairs, and why it ended early."""
        queries, positives, documents = self._texts(pairs)
        questions = judge_questions(self._prompt, self._settings, queries, positives, documents)
        judged, stopped = cascade(self._settings, questions, self._ask)
        columns: dict[str, Any] = {name: pairs[name] for name in ("query_id", "doc_id")}
        for name in ("relevance", "decided_by", "cheap", "strong", "reason"):
            columns[name] = pa.array([getattr(one, name) for one in judged], JUDGEMENTS.field(name).type)
        return pa.table(columns).select(JUDGEMENTS.names).cast(JUDGEMENTS), stopped

    def agreement(self, judged: pa.Table, threshold: float) -> tuple[JudgeAgreement, ...]:
        """How cheap judge, strong judge, teacher and reviewers agree, two by two."""
        storage, columns = self._context.storage, ["query_id", "doc_id", "teacher_calibrated", "teacher_sigmoid"]
        scored = [read_table(storage, part.file("scored.parquet"), columns) for part in self._table.scored] if judged.num_rows else []
        return judge_agreement(judged, scored, sure_labels(storage, self._table.labels.name), threshold)

    def _ask(self, purpose: str, model: ChatSettings, questions: Sequence[Question]) -> Asked[Verdict]:
        about = About(self._table.labels.name, self._number, purpose, "pairs", self._prompt.label)
        return ask_for(self._context, about, model, questions, Verdict, self._budget, self._export)

    def _texts(self, pairs: pa.Table) -> tuple[list[str], list[str], list[str]]:
        storage, table = self._context.storage, self._table

        def documents(kind: str) -> list[str]:
            known = np.flatnonzero(pc.is_valid(pairs[f"{kind}_row"]).to_numpy())
            there = pairs.take(pa.array(known))
            partition, row = (there[f"{kind}_{name}"].to_numpy().astype(np.int64) for name in ("partition", "row"))
            found = document_inputs("{title}\n{text}", take_texts(storage, table.documents, partition, row, ["title", "text"]))
            texts = dict(zip(known.tolist(), found, strict=True))
            return [texts.get(place, "") for place in range(pairs.num_rows)]

        queries: list[str] = []
        part = pairs["part"].to_numpy()
        for number in np.unique(part).tolist():
            texts = read_table(storage, table.queries[number].file("queries.parquet"), ["text"])["text"]
            queries += texts.take(pa.array(pairs["query_row"].to_numpy()[part == number])).to_pylist()
        return queries, documents("positive"), documents("doc")


def _values(table: pa.Table, name: str) -> Any:
    """A column as float32, NaN for NULL."""
    return np.asarray(table[name].cast(pa.float32()).to_numpy(), dtype=np.float32)


def _notes(found: JudgedRecipe, unanswered: int) -> Sequence[str]:
    notes = [f"judges called {found.relevant():,} of {found.table.num_rows:,} judged negatives relevant (action: {found.settings.action})"]
    if found.stopped:
        notes.append(f"judging ended early: {found.stopped}; the same command goes on")
    if found.unjudged:
        kept = "they stay" if found.settings.unjudged == "keep" else "they are rejected"
        notes.append(f"{found.unjudged:,} negatives are not judged ({unanswered:,} refused, malformed, not taken or failed): {kept}")
    return notes
