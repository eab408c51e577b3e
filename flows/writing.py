"""SyNeg: a language model writes negatives for a round's queries; they become candidates beside the mined ones, in a round of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.asking import About, ask_for
from flows.judging import check_judge, judge_recipe
from flows.results import CostRecorder
from flows.scoring import extended_scores
from flows.selection import Decided, Selected, Table, decide, run_selection, shard_settings
from flows.settings import MineSettings
from flows.stored import recipe_of, stored_settings, stored_stage, stored_table
from flows.written_recipe import with_written
from tasks.audit.build import build_audit
from tasks.audit.judged import keep_judged
from tasks.audit.records import RoundRecord, StageRef, publish_round
from tasks.embed.task import embed_documents
from tasks.errors import UsageError
from tasks.models.order import is_trained
from tasks.remote.ask import Asked
from tasks.remote.budget import Budget
from tasks.runner.runner import Context
from tasks.schema import PROMOTED, SYNTHETIC
from tasks.select.recipe import Recipe
from tasks.sql import run
from tasks.store.manifest import StageManifest
from tasks.store.tables import keep_table, read_parts, read_table, take_texts
from tasks.store.vectors import stored_vectors
from tasks.templates import document_inputs
from tasks.write.gap import adversarial_gap
from tasks.write.negatives import KEPT, Drafts, Need, looked_at, write_prompt, write_questions
from tasks.write.settings import WriteSettings
from tasks.write.stage import SOURCE, WRITTEN
from tasks.write.task import written_candidates, written_documents

#: queries with a training row, and of each a positive, one of the user's own labels or reviews where there is one
_FIRST = """
WITH asked AS (SELECT query_id, min(query_row) AS query_row FROM rows WHERE slot = 0 GROUP BY query_id),
positives AS (
  SELECT query_id, doc_id, doc_partition, doc_row, coalesce(provenance, '') = $promoted AS made FROM labelled WHERE is_positive),
first AS (
  SELECT query_id, doc_partition, doc_row, list(doc_id) OVER (PARTITION BY query_id) AS positives FROM positives
  QUALIFY row_number() OVER (PARTITION BY query_id ORDER BY made, doc_id) = 1)
SELECT * FROM asked JOIN first USING (query_id) ORDER BY query_id"""
_LABELS = ["query_id", "doc_id", "doc_partition", "doc_row", "is_positive", "provenance"]


@dataclass(frozen=True)
class Written:
    """What came of it.

    Args:
        round: the new round's name.
        selected: its selection.
        facts: asked, drafts by status, drawn, gap, stopped: as the round's settings keep them.
        notes: for the reader.
    """

    round: str
    selected: Selected
    facts: dict[str, Any]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "round": self.round,
            "written": self.facts,
            "selection": self.selected.result.model_dump(mode="json"),
            "notes": list(self.notes),
        }


def write_negatives(
    context: Context, record: RoundRecord, wanted: str | dict[str, Any] | None, settings: WriteSettings, export: Path | None = None
) -> Written:
    """Write, check, score and select: a round of the same dataset with a source ``synthetic`` more.

    Args:
        context: storage, executor, progress.
        record: the round whose recipe's rows get written negatives.
        wanted: the recipe; none: that of the last selection.
        settings: writer, difficulty, checks, budget.
        export: a file that open questions are written to instead of being asked.

    Raises:
        Exported: questions are open, and in the file.
        UsageError: the round or a setting does not fit; nothing was asked.
        ModelError: an endpoint refuses.
        GateError: the selection fails the release gate.
    """
    costs = CostRecorder(context.progress)
    context = Context(context.storage, context.executor, costs)
    table, mined, recipe = stored_table(context.storage, record), stored_settings(record), recipe_of(record, wanted)
    _check(record, mined, table, recipe, settings, export is None)
    asked, drafts, needs = _asked(context, record, table, decide(context, table, recipe, mined.seed), settings, export)
    stored = keep_table(context.storage, f"written/{record.dataset}", drafts)
    documents = written_documents(context, stored)
    if not (documents.parts[0].file("docs.parquet").rows or 0):
        build_audit(context.storage)  # what was asked and paid is told all the same
        raise UsageError(
            f"no written document is of use: {_told(drafts) or 'no draft'}, {asked.count('refused'):,} refusals"
            + (f"; {asked.stopped}" if asked.stopped else ""),
            "raise the budget, or look at the prompt; the answers are kept",
        )
    vectors = embed_documents(context, mined.document_encoder, f"{record.dataset}.written", documents.parts)
    extended, scored = _extended(context, record, mined, table, documents, vectors)
    chosen = with_written(recipe, settings, bool(mined.teacher))
    judged = (
        judge_recipe(context, extended, chosen, settings.judge, mined.seed, written=SYNTHETIC, export=export) if settings.judge else None
    )
    chosen = judged.recipe if judged else chosen
    selected = run_selection(context, extended, chosen, mined.formats, shard_settings(mined, chosen), mined.seed)
    drawn = read_parts(context.storage, stored_stage(context.storage, selected.record.select).parts, "rows.parquet")
    facts: dict[str, Any] = {
        "settings": settings.model_dump(mode="json"),
        "from_round": record.number,
        "queries": len(needs),
        "answered": len(needs) - asked.open,
        "drafts": _statuses(drafts),
        "drawn": int(pc.sum(pc.starts_with(drawn["doc_id"], SYNTHETIC)).as_py() or 0),
        "gap": _gap(context, extended, drawn),
        "stopped": asked.stopped,
        "created": datetime.now(UTC).isoformat("T", "seconds"),
    }
    published = _publish(context, record, extended, scored, selected, (documents, vectors), facts, costs.references)
    if judged is not None:
        keep_judged(context.storage, judged.record(published.dataset, published.number, selected.record.selection_id))
    build_audit(context.storage)
    notes = [f"{facts['drawn']:,} written negatives in training rows; drafts: {_told(drafts)}"]
    notes += (
        [] if facts["gap"] is None else [f"adversarial gap: written and mined are told apart with an AUC of {facts['gap']:.3f} (0.5: not)"]
    )
    notes += [f"writing ended early: {asked.stopped}; the same command goes on"] if asked.stopped else []
    notes += judged.notes if judged else []
    return Written(f"{published.dataset}/{published.number}", selected, facts, tuple(notes))


def _check(record: RoundRecord, mined: MineSettings, table: Table, recipe: Recipe, settings: WriteSettings, keys: bool) -> None:
    write_prompt(settings)
    settings.budget.check(settings.model)
    if keys:
        settings.model.key()
    if settings.judge is not None:
        check_judge(settings.judge, recipe, keys)
        if settings.judge.action != "drop_negative":
            raise UsageError("judge.action of written negatives is drop_negative: they are no positives", "leave judge.action out")
    name = f"round {record.dataset}/{record.number}"
    if table.is_partial:
        raise UsageError(f"{name}: its candidates are partial (teacher.lazy)", "mine with teacher.lazy: false")
    if SOURCE in table.sources:
        raise UsageError(f"{name} has written negatives already", "name the round that it was made from")
    if mined.fixed_encoder is not None:
        raise UsageError(f"{name} has a fixed encoder, which written documents have no vectors of", "mine without fixed_encoder")


def _asked(
    context: Context, record: RoundRecord, table: Table, outcome: Decided, settings: WriteSettings, export: Path | None
) -> tuple[Asked[Drafts], pa.Table, list[Need]]:
    """What the writer answered, its drafts as :data:`tasks.write.stage.WRITTEN`, and the queries that it was asked about."""
    prompt = write_prompt(settings)
    needs = [need for place, part in enumerate(outcome.decisions.parts) for need in _needs(context, table, place, part)]
    if not needs:
        raise UsageError(
            f"round {record.dataset}/{record.number}: no query with a training row may be trained on (split train, or none)",
            "mine queries that train: see dataset.splits and dataset.split",
        )
    about = About(record.dataset, record.number, "write negatives", "queries", prompt.label)
    questions = write_questions(prompt, settings, needs)
    asked = ask_for(context, about, settings.model, questions, Drafts, Budget(settings.budget), export)
    drafts = looked_at(needs, asked.forms, _corpus(context, table), settings.containment)
    return asked, pa.Table.from_pylist([dict(draft) for draft in drafts], WRITTEN), needs


def _needs(context: Context, table: Table, place: int, part: Any) -> list[Need]:
    """Queries of one partition with a training row, as far as they may be trained on."""
    storage = context.storage
    labelled = read_table(storage, table.scored[place].file("scored.parquet"), _LABELS)
    first = run(_FIRST, {"rows": read_table(storage, part.file("rows.parquet")), "labelled": labelled}, {"promoted": PROMOTED})
    queries = read_table(storage, table.queries[place].file("queries.parquet"), ["text", "split"])
    queries = queries.take(pa.array(first["query_row"].to_numpy().astype(np.int64)))
    partition, row = (first[name].to_numpy().astype(np.int64) for name in ("doc_partition", "doc_row"))
    positives = document_inputs("{title}\n{text}", take_texts(storage, table.documents, partition, row, ["title", "text"]))
    trained = is_trained(queries["split"]).to_pylist()
    names = first["query_id"].to_pylist()
    given = zip(names, queries["text"].to_pylist(), positives, first["positives"].to_pylist(), trained, strict=True)
    return [Need(name, text, positive, frozenset(own)) for name, text, positive, own, wanted in given if wanted]


def _corpus(context: Context, table: Table) -> Iterator[tuple[str, str, str]]:
    """Id, title and text of every document."""
    for part in table.documents:
        rows = read_table(context.storage, part.file("docs.parquet"), ["doc_id", "title", "text"])
        for batch in rows.to_batches(max_chunksize=4096):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _extended(
    context: Context, record: RoundRecord, mined: MineSettings, table: Table, documents: StageManifest, vectors: StageManifest
) -> tuple[Table, StageManifest]:
    """The round's table with the written candidates in it: the teacher scores what it has not scored."""
    before = stored_stage(context.storage, record.stage("candidates"))
    written, encoded = documents.parts[0].only("docs.parquet", "written.parquet"), vectors.parts[0]
    merged = written_candidates(context, before.parts, table.queries, table.query_vectors, written, encoded, len(table.documents))
    sources = [*table.sources, SOURCE]
    corpus = [*table.documents, documents.parts[0].only("docs.parquet")]
    trains = mined.teacher is not None and mined.teacher.train is not None
    trained = stored_stage(context.storage, record.stage("train-teacher")).parts if trains else ()
    scored = extended_scores(
        context, mined, sources, table.depths.get("teacher", 0), merged, table.queries, corpus, trained, table.calibration
    )
    depths = {**table.depths, SOURCE: 1_000}
    extended = replace(
        table,
        candidate_set_id=scored.checksum,
        sources=sources,
        scored=scored.parts,
        documents=corpus,
        document_vectors=[*table.document_vectors, encoded],
        depths=depths,
    )
    return extended, scored


def _publish(
    context: Context,
    record: RoundRecord,
    table: Table,
    scored: StageManifest,
    selected: Selected,
    written: tuple[StageManifest, StageManifest],
    facts: dict[str, Any],
    stages: Sequence[StageRef],
) -> RoundRecord:
    roles = {name: StageRef(stage=one.stage, key=one.key) for name, one in zip(("written", "written_vectors"), written, strict=True)}
    roles |= {"scored": StageRef(stage=scored.stage, key=scored.key)}
    update = {
        "number": 0,
        "candidate_set_id": table.candidate_set_id,
        "selection_id": selected.record.selection_id,
        "created": str(facts["created"]),
        "selections": (selected.record,),
        "stages": (*record.stages, *stages),
        "settings": {**record.settings, "sources": list(table.sources), "depths": table.depths, "written": facts},
        "roles": {**record.roles, **roles},
        "outlays": (),
        "staleness": None,
    }
    return publish_round(context.storage, record.model_copy(update=update))


def _gap(context: Context, table: Table, rows: pa.Table) -> float | None:
    """How well the retriever's vectors tell the selection's written negatives from its mined ones."""
    negatives = rows.filter(pc.greater(rows["slot"], 0))
    written = pc.starts_with(negatives["doc_id"], SYNTHETIC)
    kinds = [_unique(negatives.filter(pc.invert(written))), _unique(negatives.filter(written))]
    vectors = [_vectors(context, table, kind) for kind in kinds]
    return adversarial_gap(vectors[0], vectors[1], [name for kind in kinds for name in kind["query_id"].to_pylist()])


def _unique(rows: pa.Table) -> pa.Table:
    return run("SELECT DISTINCT query_id, doc_id, doc_partition, doc_row FROM rows ORDER BY ALL", {"rows": rows})


def _vectors(context: Context, table: Table, rows: pa.Table) -> Any:
    partition, row = (rows[name].to_numpy().astype(np.int64) for name in ("doc_partition", "doc_row"))
    return stored_vectors(context.storage, table.document_vectors)(partition, row)


def _told(drafts: pa.Table) -> str:
    """Drafts by status, in words."""
    return ", ".join(f"{count:,} {status}" for status, count in _statuses(drafts).items() if count)


def _statuses(drafts: pa.Table) -> dict[str, int]:
    counts = {entry["values"]: entry["counts"] for entry in drafts["status"].value_counts().to_pylist()}
    return {KEPT: counts.pop(KEPT, 0), **dict(sorted(counts.items()))}
