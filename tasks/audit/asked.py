"""Language models in the snapshot: what was asked of which, what it cost, what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.audit.asks import read_asks
from tasks.audit.judged import read_judged
from tasks.audit.records import RoundRecord
from tasks.audit.source import Files, create, files_of
from tasks.schema import JUDGEMENTS
from tasks.store.manifest import read_stage
from tasks.store.storage import Storage, checked_copy

if TYPE_CHECKING:
    from tasks.sql import DuckDBPyConnection

ASKED_TABLES = {
    "asks": "What was asked of language models: one row a command and model, with tokens, money, latency, refusals.",
    "judgements": "What judges said of a selection's negatives: one row a pair, by each judge and by the one that decided.",
    "written": "Documents that a language model wrote as negatives: one row a draft, with what became of it.",
    "writings": "Rounds with written negatives: how many queries, how many documents were kept and drawn, and the adversarial gap.",
    "judge_agreement": "How cheap judge, strong judge, teacher and reviewers agree, two by two, on the pairs that both spoke about.",
}
ASKED_COLUMNS = {
    "purpose": "What a language model was asked for: judge cheap, judge strong, write negatives, write queries.",
    "revision": "Declared revision of the model; empty: none.",
    "prompt": "The prompt's file and the beginning of its checksum.",
    "questions": "Questions, those that were answered before among them.",
    "cached": "Different questions that were answered before: they cost nothing.",
    "answered": "Different questions that were answered now.",
    "malformed": "Answers that were not in the wanted form, after as many tries as malformed_retries allows.",
    "refused": "Refusals, by the model or a filter.",
    "rejected": "Questions that the endpoint did not take (too long, a content filter); they are asked again with ask_rejected alone.",
    "failed": "Questions to which the endpoint gave nothing after all retries; they are asked again next time.",
    "unanswered": "Questions without an answer: failed ones, and those that were not asked any more.",
    "calls": "Requests that were sent, retries among them.",
    "prompt_tokens": "Tokens of prompts; of a broken connection the most that it can have been.",
    "completion_tokens": "Tokens of answers; of a broken connection max_tokens.",
    "money": "By the model's price_in and price_out.",
    "seconds_median": "Median latency of the answers that came now; NULL: none did.",
    "seconds_95": "The latency that 95 % of them kept under.",
    "decided_by": "Which judge decided: cheap or strong; empty: none answered.",
    "cheap": "Relevance by the cheap judge, 0 to 1; NULL: not asked, refused or malformed.",
    "strong": "Relevance by the strong judge, 0 to 1; NULL: not asked, refused or malformed.",
    "first": "One of cheap, strong, teacher, review.",
    "second": "Another of them.",
    "contradicts": "The fact that the writer says it changed.",
    "status": "kept, copy_of_document, near_copy_of_positive, near_copy_of_document or empty.",
    "from_round": "The round whose recipe's rows they were written for.",
    "kept": "Drafts that became candidates.",
    "drawn": "Written negatives in training rows.",
    "gap": "How well a logistic regression on the retriever's vectors tells written from mined negatives (AUC): 0.5 not, 1 always.",
    "kappa": "Cohen's kappa; NULL: chance alone explains all agreement.",
    "stopped": "Why it ended early: a budget, an endpoint that gives nothing, an error; empty: it did not.",
}
ASKED_IN_TABLE = {
    ("asks", "round"): "The round whose pairs it was about; 0: none.",
    ("asks", "model"): "The language model's name at its endpoint.",
    ("asks", "created"): "When it was done (UTC).",
    ("judgements", "relevance"): "Relevance by the judge that decided, 0 to 1; NULL: none answered.",
    ("judgements", "reason"): "The deciding judge's words.",
    ("written", "doc_id"): "Of the document: synthetic: and the beginning of its content's hash.",
    ("written", "text"): "As it was written.",
    ("written", "title"): "As it was written.",
    ("writings", "queries"): "Queries that the writer was asked about.",
    ("writings", "answered"): "Queries with an answer of the writer's.",
    ("writings", "stopped"): "Why it ended early; empty: it did not.",
    ("judge_agreement", "share"): "Share of the pairs on which they agree.",
}
_TEXTS = ("purpose", "model", "revision", "prompt", "created")
_COUNTS = (
    "questions",
    "cached",
    "answered",
    "malformed",
    "refused",
    "rejected",
    "failed",
    "unanswered",
    "calls",
    "prompt_tokens",
    "completion_tokens",
)
_ASKS = pa.schema(
    [
        ("dataset", pa.string()),
        ("round", pa.int32()),
        *((name, pa.string()) for name in _TEXTS),
        *((name, pa.int64()) for name in _COUNTS),
        *((name, pa.float64()) for name in ("money", "seconds_median", "seconds_95")),
        ("stopped", pa.string()),
    ]
)

_JUDGED_BY = ("dataset", "round", "selection_id", "recipe")
_ABOUT = [("dataset", pa.string()), ("round", pa.int32()), ("selection_id", pa.string()), ("recipe", pa.string())]
_JUDGEMENTS = pa.schema([*_ABOUT, *JUDGEMENTS])
_TEXT = [(name, pa.string()) for name in ("query_id", "doc_id", "title", "text", "contradicts", "status")]
_WRITTEN = pa.schema([("dataset", pa.string()), ("round", pa.int32()), *_TEXT])
_WRITINGS = pa.schema(
    [
        ("dataset", pa.string()),
        ("round", pa.int32()),
        *((name, pa.int64()) for name in ("from_round", "queries", "answered", "kept", "drawn")),
        ("gap", pa.float64()),
        ("stopped", pa.string()),
    ]
)
_AGREEMENT = pa.schema(
    [*_ABOUT, ("first", pa.string()), ("second", pa.string()), ("pairs", pa.int64()), ("share", pa.float64()), ("kappa", pa.float64())]
)


def fill_asked(database: DuckDBPyConnection, storage: Storage, rounds: Sequence[RoundRecord]) -> None:
    """Create the tables."""
    create(database, "asks", _ASKS, rows=[{**one.model_dump(), "unanswered": one.left} for one in read_asks(storage)])
    judged = read_judged(storage)
    about = [(one, {name: getattr(one, name) for name in _JUDGED_BY}) for one in judged]
    create(database, "judge_agreement", _AGREEMENT, rows=[{**by, **each.model_dump()} for one, by in about for each in one.agreement])
    files = [Files((str(checked_copy(storage, one.path, one.bytes, one.checksum)),), by).sql() for one, by in about]
    create(database, "judgements", _JUDGEMENTS, files, only=True)
    create(database, "written", _WRITTEN, [query for record in rounds for query in _written(storage, record)], only=True)
    made = [{"dataset": one.dataset, "round": one.number, **one.settings["written"]} for one in rounds if "written" in one.settings]
    create(database, "writings", _WRITINGS, rows=[{**row, "kept": row["drafts"].get("kept", 0)} for row in made])


def _written(storage: Storage, record: RoundRecord) -> Iterator[str]:
    """One SELECT of a round's written documents."""
    found = read_stage(storage, record.roles["written"].stage, record.roles["written"].key) if "written" in record.roles else None
    for part in found.parts if found else ():
        yield files_of(storage, record, [part], "written.parquet").sql()
