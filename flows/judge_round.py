"""Judge a recipe's negatives in a round that is there, and add the selection that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from flows.again import select_again
from flows.judged_recipe import without_judgements
from flows.judging import JudgedRecipe, judge_recipe
from flows.selection import Selected, Table
from flows.stored import recipe_of, stored_settings, stored_table
from tasks.audit.build import build_audit
from tasks.audit.judged import JudgedRecord, keep_judged
from tasks.audit.promotions import publish_promotion, standing_pairs
from tasks.audit.records import RoundRecord
from tasks.errors import UsageError
from tasks.judge.settings import JudgeSettings
from tasks.review.records import sure_labels
from tasks.review.signals import JUDGE
from tasks.runner.runner import Context
from tasks.schema import PROMOTIONS
from tasks.sql import run
from tasks.store.storage import Storage
from tasks.store.tables import read_table


@dataclass(frozen=True)
class JudgedRound:
    """What came of it."""

    round: str
    judged: JudgedRecord
    selected: Selected
    promoted: int
    notes: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "round": self.round,
            "judged": self.judged.model_dump(mode="json"),
            "selection": self.selected.result.model_dump(mode="json"),
            "promoted": self.promoted,
            "notes": list(self.notes),
        }


def judge_round(
    context: Context,
    record: RoundRecord,
    wanted: str | dict[str, Any] | None,
    settings: JudgeSettings,
    only: frozenset[str] | None = None,
    export: Path | None = None,
) -> JudgedRound:
    """Judge, select, publish.

    Args:
        context: storage, executor, progress.
        record: the round.
        wanted: the recipe; none: that of the last selection, without what judges said of it before.
        settings: of the judging.
        only: ids of the queries whose negatives are judged; none: of all.
        export: a file that open questions are written to instead of being asked.

    Raises:
        Exported: questions are open, and in the file.
        UsageError: the recipe or settings do not fit; nothing was asked.
        ModelError: an endpoint refuses.
        GateError: the selection fails the release gate.
    """
    table = stored_table(context.storage, record)
    recipe = without_judgements(recipe_of(record, wanted))
    found = judge_recipe(context, table, recipe, settings, stored_settings(record).seed, record.number, only, export=export)
    published, selected = select_again(context, record, found.recipe.model_dump(mode="json"), recipe.num_negatives, (), True)
    kept, promoted = keep_judging(context.storage, table, published, selected, found)
    build_audit(context.storage)
    return JudgedRound(f"{record.dataset}/{record.number}", kept, selected, promoted, tuple(found.notes))


def keep_judging(storage: Storage, table: Table, record: RoundRecord, selected: Selected, found: JudgedRecipe) -> tuple[JudgedRecord, int]:
    """Write a judging down; with ``labels`` relabelled pairs of queries that train are promoted. The record, and how many pairs were."""
    kept = found.record(record.dataset, record.number, selected.record.selection_id)
    keep_judged(storage, kept)
    if not found.settings.labels:
        return kept, 0
    pairs = _relabelled(storage, table, record, found)
    if pairs.num_rows:
        publish_promotion(storage, record.dataset, record.number, record.candidate_set_id, {"judge": kept.settings}, pairs)
    return kept, pairs.num_rows


def _relabelled(storage: Storage, table: Table, record: RoundRecord, found: JudgedRecipe) -> pa.Table:
    """Relabelled pairs that are no labels yet and that no reviewer called not relevant, of queries that train, as promotions."""
    splits = pa.concat_tables([read_table(storage, part.file("queries.parquet"), ["query_id", "split"]) for part in table.queries])
    best = """
SELECT j.query_id, j.doc_id, j.relevance::DOUBLE AS score FROM judged j
JOIN splits s ON s.query_id = j.query_id AND coalesce(lower(s.split), 'train') = 'train'
ANTI JOIN standing t ON t.query_id = j.query_id AND t.doc_id = j.doc_id
ANTI JOIN (SELECT query_id, doc_id FROM reviewed WHERE NOT relevant) r ON r.query_id = j.query_id AND r.doc_id = j.doc_id
WHERE j.relevance > $above::FLOAT
QUALIFY row_number() OVER (PARTITION BY j.query_id ORDER BY j.relevance DESC, j.doc_id) <= $most ORDER BY j.query_id, j.doc_id"""
    tables = {
        "judged": found.table,
        "splits": splits,
        "standing": standing_pairs(storage, record.dataset),
        "reviewed": sure_labels(storage, record.dataset),
    }
    chosen = run(best, tables, {"above": found.settings.relabel_from, "most": found.settings.relabel_per_query})
    empty = pa.nulls(chosen.num_rows, pa.float64())
    columns = {name: empty for name in ("teacher_probability", "teacher_margin", "label_evidence", "second_score")}
    signals = pa.array([[JUDGE]] * chosen.num_rows, PROMOTIONS.field("signals").type)
    given = {**{name: chosen[name] for name in chosen.column_names}, "signals": signals, **columns}
    return pa.table(given).select(PROMOTIONS.names).cast(PROMOTIONS)


def read_ids(path: Path | None) -> frozenset[str] | None:
    """Ids of queries, one a line; none: all queries.

    Raises:
        UsageError: the file is not there, or holds no id.
    """
    if path is None:
        return None
    try:
        found = frozenset(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})", "give a text file with an id a line") from error
    if not found:
        raise UsageError(f"{path}: there is no id in it", "give a text file with an id a line")
    return found
