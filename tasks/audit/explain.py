"""One query's story in one round: its positives and candidates with all scores, decisions, reasons and texts.

Read from the round's own Parquet files: the snapshot holds no texts, and above its row limit not all pairs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from tasks.audit.records import RoundRecord, StageRef
from tasks.errors import StorageError, UsageError
from tasks.store.keys import partition_of
from tasks.store.manifest import Part, StageManifest, read_stage
from tasks.store.storage import Storage
from tasks.store.tables import local_file, take_texts

SHORTEN = 200

_PLAIN = ("query_id", "doc_id", "query_row", "doc_partition", "doc_row", "relevance", "is_positive", "query_hash", "doc_hash")
_DECIDED = ("stage", "positive_id", "decision", "reason", "reasons", "survivor_rank", "draw", "slot", "label", "weight")
_SPACE = re.compile(r"\s+")


class _Story(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Decision(_Story):
    """What the selection decided in one training stage (for one positive, if the recipe judges for each apart)."""

    stage: str
    positive_id: str | None
    decision: str
    reason: str | None
    reasons: list[str]
    survivor_rank: int | None
    draw: str | None
    slot: int | None
    label: float | None
    weight: float | None


class CandidateStory(_Story):
    """One candidate. ``scores``: ranks, scores and features by column name, without those that are NULL."""

    doc_id: str
    title: str
    text: str
    relevance: int | None
    scores: dict[str, float | int | str]
    decisions: list[Decision]


class QueryStory(_Story):
    """One query in one round and selection. Candidates come best dense score first."""

    dataset: str
    round: int
    selection_id: str
    recipe: str
    query_id: str
    text: str
    answers: list[str]
    positives: list[CandidateStory]
    candidates: list[CandidateStory]


def show_query(storage: Storage, record: RoundRecord, query_id: str, selection_id: str | None = None, shorten: int = SHORTEN) -> QueryStory:
    """Everything a round knows about a query.

    Args:
        storage: the root.
        record: the round.
        query_id: the user's id.
        selection_id: id or recipe of one of the round's selections; by default the last one.
        shorten: most characters of a document's text; 0: all.

    Raises:
        UsageError: the round has no such query or selection.
        StorageError: files of the round are gone.
    """
    selection = record.selection(selection_id)
    queries, documents = _parts(storage, record.role("queries")), _parts(storage, record.role("documents"))
    documents = [*documents, *_written(storage, record)]
    place = partition_of(query_id, len(queries))
    found = _of_query(storage, queries[place], "queries.parquet", query_id).to_pylist()
    if not found:
        raise UsageError(
            f"round {record.number} of {record.dataset!r} has no query {query_id!r}",
            "`hardmine sql 'SELECT DISTINCT query_id FROM candidates LIMIT 20'` lists some",
        )
    scored = _of_query(storage, _parts(storage, record.stage("scored"))[place], "scored.parquet", query_id)
    decided = _of_query(storage, _parts(storage, selection.select)[place], "decisions.parquet", query_id)
    texts = take_texts(storage, documents, scored["doc_partition"].to_numpy(), scored["doc_row"].to_numpy(), ["title", "text"])
    stories = _stories(scored, texts, _by_document(decided), shorten)
    order = sorted(range(len(stories)), key=lambda i: (-float(stories[i].scores.get("dense_score", -np.inf)), stories[i].doc_id))
    positive = scored["is_positive"].to_pylist()
    return QueryStory(
        dataset=record.dataset,
        round=record.number,
        selection_id=selection.selection_id,
        recipe=selection.recipe,
        query_id=query_id,
        text=found[0]["text"],
        answers=found[0]["answers"] or [],
        positives=[stories[i] for i in order if positive[i]],
        candidates=[stories[i] for i in order if not positive[i]],
    )


def shortened(text: str, length: int) -> str:
    """A text on one line, cut at a word if it is longer than ``length`` characters (0: never).

    >>> shortened("one  two three", 9)
    'one two …'
    """
    flat = _SPACE.sub(" ", text).strip()
    if not length or len(flat) <= length:
        return flat
    cut = flat[: length - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut) + " …"


def _stories(scored: pa.Table, texts: pa.Table, decisions: dict[str, list[Decision]], shorten: int) -> list[CandidateStory]:
    stories = []
    for row, text in zip(scored.to_pylist(), texts.to_pylist(), strict=True):
        stories.append(
            CandidateStory(
                doc_id=row["doc_id"],
                title=text["title"] or "",
                text=shortened(text["text"] or "", shorten),
                relevance=row["relevance"],
                scores={name: value for name, value in row.items() if name not in _PLAIN and value is not None},
                decisions=decisions.get(row["doc_id"], []),
            )
        )
    return stories


def _by_document(decided: pa.Table) -> dict[str, list[Decision]]:
    found: dict[str, list[Decision]] = {}
    for row in decided.to_pylist():
        fields: dict[str, Any] = {name: row[name] for name in _DECIDED}
        found.setdefault(row["doc_id"], []).append(Decision(**{**fields, "reasons": fields["reasons"] or []}))
    return found


def _written(storage: Storage, record: RoundRecord) -> Sequence[Part]:
    """Written documents, which are partitions after the corpus' own."""
    return _parts(storage, record.roles["written"]) if "written" in record.roles else ()


def _of_query(storage: Storage, part: Part, name: str, query_id: str) -> pa.Table:
    """The rows of one query; row groups that cannot hold it are skipped where the file says so."""
    path = local_file(storage, part.file(name))
    return pq.read_table(path, filters=pc.equal(pc.field("query_id"), query_id), partitioning=None)


def _parts(storage: Storage, ref: StageRef) -> Sequence[Part]:
    manifest: StageManifest | None = read_stage(storage, ref.stage, ref.key, check_files=False)
    if manifest is None:
        raise StorageError(
            f"{storage.root}: the manifest of stage {ref.stage} is gone", "mine the round again: what is still there is reused"
        )
    return manifest.parts
