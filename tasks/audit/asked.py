"""Language models in the snapshot: what was asked of which, what it cost, what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from tasks.audit.asks import read_asks
from tasks.audit.source import create
from tasks.store.storage import Storage

if TYPE_CHECKING:
    from tasks.sql import DuckDBPyConnection

ASKED_TABLES = {
    "asks": "What was asked of language models: one row a command and model, with tokens, money, latency, refusals.",
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
    "failed": "Questions to which the endpoint gave nothing after all retries; they are asked again next time.",
    "left": "Questions without an answer: failed ones, and those that were not asked any more.",
    "calls": "Requests that were sent, retries among them.",
    "prompt_tokens": "Tokens of prompts; of a broken connection the most that it can have been.",
    "completion_tokens": "Tokens of answers; of a broken connection max_tokens.",
    "money": "By the model's price_in and price_out.",
    "seconds_median": "Median latency of the answers that came now; NULL: none did.",
    "seconds_95": "The latency that 95 % of them kept under.",
    "stopped": "Why it ended early: a budget, or an endpoint that gives nothing; empty: it did not.",
}
ASKED_IN_TABLE = {
    ("asks", "round"): "The round whose pairs it was about; 0: none.",
    ("asks", "model"): "The language model's name at its endpoint.",
    ("asks", "created"): "When it was done (UTC).",
}
_TEXTS = ("purpose", "model", "revision", "prompt", "created")
_COUNTS = ("questions", "cached", "answered", "malformed", "refused", "failed", "left", "calls", "prompt_tokens", "completion_tokens")
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


def fill_asked(database: DuckDBPyConnection, storage: Storage) -> None:
    """Create the tables."""
    create(database, "asks", _ASKS, rows=[one.model_dump() for one in read_asks(storage)])
