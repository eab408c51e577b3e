"""Kept answers: what a model ever said to a prompt, found by the key of (model, revision, prompt, parameters).

As in the pair store, a segment is an immutable file, sorted by key; over 16 of them are merged into files by the first hex digit of the key
(:mod:`tasks.store.segments`). A store is one model with one declared revision.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from tasks.remote.budget import Spent
from tasks.store.keys import digest
from tasks.store.manifest import FileRecord
from tasks.store.output import Output
from tasks.store.segments import BUCKETS, MAX_SEGMENTS, Segments, bucket_file, may_hold
from tasks.store.storage import Storage
from tasks.store.tables import read_table

ANSWERS = pa.schema(
    [
        ("key", pa.string()),
        ("prompt", pa.string()),  # name and version of the prompt's file
        ("status", pa.string()),  # ok | malformed | refused | rejected | retry (malformed, and the run ended before it was asked again)
        ("reason", pa.string()),  # why it is not ok
        ("content", pa.string()),  # as the model wrote it
        ("model", pa.string()),  # as the endpoint names it
        ("prompt_tokens", pa.int64()),  # of all tries
        ("completion_tokens", pa.int64()),
        ("money", pa.float64()),
        ("seconds", pa.float64()),  # of the try that gave it
        ("calls", pa.int64()),  # requests that it took
        ("asked", pa.string()),  # when (UTC)
    ]
)


class Answer(BaseModel):
    """One kept answer, as :data:`ANSWERS`. ``refused``: by the model or its filter; ``rejected``: the endpoint did not take it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    prompt: str = ""
    status: Literal["ok", "malformed", "refused", "rejected", "retry"]
    reason: str = ""
    content: str = ""
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: float = 0.0
    seconds: float = 0.0
    calls: int = 0
    asked: str = ""

    @property
    def spent(self) -> Spent:
        """On all tries."""
        return Spent(self.calls, self.prompt_tokens, self.completion_tokens, self.money)


def store_of(model: str, revision: str) -> str:
    """The name of a model's store."""
    return digest("answers", model, revision)


def answer_key(store: str, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """The key of an answer: model and revision (the store), every message, every parameter, the form that is asked for."""
    return digest(store, [dict(message) for message in messages], dict(parameters), dict(schema))


def keep(storage: Storage, store: str, answers: Iterable[Answer]) -> None:
    """Write a segment, then its marker."""
    rows = sorted({answer.key: answer for answer in answers}.values(), key=lambda answer: answer.key)
    if not rows:
        return
    table = pa.Table.from_pylist([row.model_dump() for row in rows], schema=ANSWERS)
    name = digest([row.model_dump(mode="json") for row in rows])
    output = Output(storage, f"answers/{store}")
    output.table(f"{name}.parquet", table)
    _store(storage, store).mark(name, output.files[0])


def find(storage: Storage, store: str, keys: Collection[str]) -> dict[str, Answer]:
    """The kept answers to some keys. Of several the one that says most counts, then that of the first segment by name: always the same."""
    found: dict[str, Answer] = {}
    for record in segments(storage, store):
        missing = [key for key in keys if (key not in found or found[key].status in _WEIGHTS) and may_hold(record, key[:1])]
        if not missing:
            continue
        table = read_table(storage, record)
        rows = table.filter(pc.is_in(table["key"], value_set=pa.array(missing, pa.string())))
        for row in rows.to_pylist():
            known = found.get(row["key"])
            if known is None or _weight(row["status"], row["calls"]) > _weight(known.status, known.calls):
                found[row["key"]] = Answer.model_validate(row)
    return found


def settled(found: Mapping[str, Answer], ask_rejected: bool = False) -> dict[str, Answer]:
    """Those that are not asked again: all but malformed ones that an ended run left before their next try.

    Args:
        found: answers by key.
        ask_rejected: what the endpoint did not take is asked again too.
    """
    again = {"retry", "rejected"} if ask_rejected else {"retry"}
    return {key: answer for key, answer in found.items() if answer.status not in again}


_WEIGHTS = {"retry": 0, "rejected": 1}  # all others are final


def _weight(status: str, calls: int) -> tuple[int, int]:
    """How much an answer says: a final one most; of unfinished ones the one that took most calls."""
    weight = _WEIGHTS.get(status, 2)
    return weight, calls if status == "retry" else 0


def segments(storage: Storage, store: str) -> list[FileRecord]:
    """The files that hold a store's answers now, merged first where there are too many. Files that are gone are left out."""
    return _store(storage, store).pin(MAX_SEGMENTS, lambda: compact(storage, store))


def compact(storage: Storage, store: str) -> bool:
    """Merge all segments into a new generation: see :meth:`tasks.store.segments.Segments.merge`."""

    def write(output: Output, records: list[FileRecord]) -> None:
        whole = pa.concat_tables([ANSWERS.empty_table(), *(read_table(storage, record).cast(ANSWERS) for record in records)])
        best: dict[str, int] = {}
        weights = [_weight(*each) for each in zip(whole["status"].to_pylist(), whole["calls"].to_pylist(), strict=True)]
        for row, key in enumerate(whole["key"].to_pylist()):
            if key not in best or weights[row] > weights[best[key]]:
                best[key] = row
        for bucket in BUCKETS:
            chosen = [best[key] for key in sorted(best) if key.startswith(bucket)]
            if chosen:
                output.table(bucket_file(bucket), whole.take(pa.array(chosen)))

    return _store(storage, store).merge(write)


def _store(storage: Storage, store: str) -> Segments:
    return Segments(storage, f"answers/{store}")
