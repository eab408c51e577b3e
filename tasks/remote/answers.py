"""Kept answers: what a model ever said to a prompt, found by the key of (model, revision, prompt, parameters).

As in the pair store, a segment is an immutable file, sorted by key, that a marker under ``manifests/answers/<store>/`` names; the marker is
put after the segment. Over 16 segments they are merged into files by the first hex digit of the key, and the pointer ``answers/<store>``
moves by compare-and-swap. A store is one model with one declared revision.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from tasks.remote.budget import Spent
from tasks.store.keys import digest
from tasks.store.manifest import FileRecord, is_there
from tasks.store.output import Output
from tasks.store.pointers import read_pointer, update_pointer
from tasks.store.seal import find_record, put_record
from tasks.store.storage import Storage
from tasks.store.tables import local_file

ANSWERS = pa.schema(
    [
        ("key", pa.string()),
        ("prompt", pa.string()),  # name and version of the prompt's file
        ("status", pa.string()),  # ok | malformed | refused | retry (malformed, and the run ended before it was asked again)
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
MAX_SEGMENTS = 16
_BUCKETS = "0123456789abcdef"


class Answer(BaseModel):
    """One kept answer, as :data:`ANSWERS`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    prompt: str = ""
    status: Literal["ok", "malformed", "refused", "retry"]
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
    put_record(storage, f"{_folder(store)}{name}.json", output.files[0])


def find(storage: Storage, store: str, keys: Collection[str]) -> dict[str, Answer]:
    """The kept answers to some keys. Where several segments hold one, that of the first by name counts: the same one always."""
    found: dict[str, Answer] = {}
    for record in segments(storage, store):
        bucket = record.name[2:3] if record.name.startswith("b=") else ""
        missing = [key for key in keys if _is_open(found.get(key)) and key.startswith(bucket)]
        if not missing:
            continue
        table = pq.read_table(local_file(storage, record), partitioning=None)
        rows = table.filter(pc.is_in(table["key"], value_set=pa.array(missing, pa.string())))
        for row in rows.to_pylist():
            if _is_open(found.get(row["key"])):
                found[row["key"]] = Answer.model_validate(row)
    return found


def _is_open(answer: Answer | None) -> bool:
    return answer is None or answer.status == "retry"


def segments(storage: Storage, store: str) -> list[FileRecord]:
    """The files that hold a store's answers now, merged first where there are too many. Files that are gone are left out."""
    merged, fresh = _state(storage, store)
    if len(fresh) > MAX_SEGMENTS:
        compact(storage, store)
        merged, fresh = _state(storage, store)
    return [*merged, *(fresh[name] for name in sorted(fresh))]


def compact(storage: Storage, store: str) -> bool:
    """Merge all segments into a new generation; false: another process was first, and its generation stands."""
    before = read_pointer(storage, f"answers/{store}")
    merged, fresh = _state(storage, store)
    replaced = sorted({*((before or {}).get("markers", [])), *fresh})
    output = Output(storage, f"answers/{store}/{digest(replaced)}")
    tables = [
        pq.read_table(local_file(storage, record), partitioning=None) for record in [*merged, *(fresh[name] for name in sorted(fresh))]
    ]
    whole = pa.concat_tables([ANSWERS.empty_table(), *(table.cast(ANSWERS) for table in tables)])
    first: dict[str, int] = {}
    statuses = whole["status"].to_pylist()
    for row, key in enumerate(whole["key"].to_pylist()):
        if key not in first or statuses[first[key]] == "retry":
            first[key] = row
    for bucket in _BUCKETS:
        chosen = [first[key] for key in sorted(first) if key.startswith(bucket)]
        if chosen:
            output.table(f"b={bucket}.parquet", whole.take(pa.array(chosen)))
    wanted = {"files": [record.model_dump(mode="json") for record in output.files], "markers": replaced}
    return update_pointer(storage, f"answers/{store}", lambda now: wanted if now == before else None) == wanted


def _state(storage: Storage, store: str) -> tuple[list[FileRecord], dict[str, FileRecord]]:
    """The merged generation's files, and later segments by marker."""
    pointer = read_pointer(storage, f"answers/{store}") or {"files": [], "markers": []}
    merged = [FileRecord.model_validate(record) for record in pointer["files"]]
    if not all(is_there(storage, record) for record in merged):
        merged, pointer = [], {"files": [], "markers": []}
    replaced, fresh = set(pointer["markers"]), {}
    for name in storage.list_names(_folder(store)):
        marker = name.removeprefix(_folder(store)).removesuffix(".json")
        record = find_record(storage, name, FileRecord) if marker not in replaced else None
        if record is not None and is_there(storage, record):
            fresh[marker] = record
    return merged, fresh


def _folder(store: str) -> str:
    return f"manifests/answers/{store}/"
