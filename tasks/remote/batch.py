"""Prompts and answers as files: the JSONL of offline batch APIs. A line of prompts names its answer's key, by which the answer comes back.

The root remembers what was exported (which model's store, which form), so that answers need nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.errors import InputError
from tasks.remote.answers import Answer, find, keep, settled
from tasks.remote.body import request_body
from tasks.remote.budget import Spent
from tasks.remote.client import reply_of
from tasks.remote.forms import answer_of, form_schema
from tasks.remote.settings import ChatSettings, cost_of
from tasks.store.keys import digest
from tasks.store.seal import put_record, read_record
from tasks.store.storage import Storage

_FOLDER = "manifests/batches/"
_URL = "/v1/chat/completions"


class Exported(Exception):
    """Questions were written to a file instead of being asked: what needs their answers goes on when these are imported."""

    def __init__(self, path: Path, prompts: int) -> None:
        super().__init__(f"{prompts} prompts in {path}")
        self.path, self.prompts = path, prompts


@dataclass(frozen=True)
class Export:
    """Where open questions go instead of to an endpoint, and what they are about: dataset, round (0: none), purpose."""

    path: Path
    dataset: str
    round: int
    purpose: str


class BatchRecord(BaseModel):
    """One export. ``form``: title of the wanted form; prices are those of the settings, for a million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    round: int
    purpose: str
    store: str
    model: str
    revision: str
    form: str
    prompt: str
    price_in: float
    price_out: float
    keys: tuple[str, ...]
    created: str


@dataclass(frozen=True)
class Taken:
    """What an import did.

    Args:
        answers: kept now.
        known: answers that were kept before.
        by_status: of the new ones: ok, malformed, refused.
        left: lines whose request failed there: they are asked again.
        aside: lines that cannot be used: file:line, reason.
        kept: what was kept, by export.
    """

    answers: int
    known: int
    by_status: Mapping[str, int]
    left: int
    aside: tuple[str, ...]
    kept: tuple[tuple[BatchRecord, tuple[Answer, ...]], ...] = ()


def export_prompts(
    storage: Storage,
    store: str,
    settings: ChatSettings,
    prompts: Mapping[str, tuple[Sequence[Mapping[str, str]], str]],
    form: type[BaseModel],
    export: Export,
) -> None:
    """Write prompts in the batch format, and remember them.

    Args:
        storage: the root.
        store: of the model's answers.
        settings: of the model.
        prompts: by key: messages, and the prompt's label.
        form: what answers must be.
        export: the file, and what the prompts are about.

    Raises:
        Exported: always, with what was written.
    """
    schema, path = form_schema(form), export.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for key, (messages, _) in prompts.items():
            line = {"custom_id": key, "method": "POST", "url": _URL, "body": request_body(settings, messages, schema)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    record = BatchRecord(
        dataset=export.dataset,
        round=export.round,
        purpose=export.purpose,
        store=store,
        model=settings.model,
        revision=settings.revision,
        form=form.__name__,
        prompt=next((label for _, label in prompts.values()), ""),
        price_in=settings.price_in,
        price_out=settings.price_out,
        keys=tuple(sorted(prompts)),
        created=datetime.now(UTC).isoformat("T", "seconds"),
    )
    put_record(storage, f"{_FOLDER}{digest(record.store, record.form, list(record.keys))}.json", record)
    raise Exported(path, len(prompts))


def import_answers(storage: Storage, paths: Sequence[Path], forms: Mapping[str, type[BaseModel]]) -> Taken:
    """Keep the answers of batch files. One that has not the wanted form is asked for again when the command runs next.

    Args:
        storage: the root that the prompts were exported from.
        paths: files as a batch API gives them: custom_id, response (status_code, body) and error a line.
        forms: by name, what answers must be.

    Raises:
        InputError: a file cannot be read.
    """
    records = [read_record(storage, name, BatchRecord) for name in storage.list_names(_FOLDER)]
    by_key = {key: record for record in records for key in record.keys}
    made: dict[str, Answer] = {}
    left, aside = 0, []
    for path in paths:
        for number, line in _lines(path):
            found = _answer(line, by_key, forms)
            if isinstance(found, Answer):
                made.setdefault(found.key, found)
            elif found:
                aside.append(f"{path}:{number}: {found}")
            else:
                left += 1
    groups = [(record, [made[key] for key in record.keys if key in made and by_key[key] is record]) for record in records]
    return _kept(storage, groups, left, aside)


def _kept(storage: Storage, groups: Sequence[tuple[BatchRecord, Sequence[Answer]]], left: int, aside: Sequence[str]) -> Taken:
    new, known, kept = 0, 0, []
    statuses: dict[str, int] = {}
    for record, answers in groups:
        before = settled(find(storage, record.store, {answer.key for answer in answers}))
        fresh = tuple(answer for answer in answers if answer.key not in before)
        keep(storage, record.store, fresh)
        kept += [(record, fresh)] if fresh else []
        new, known = new + len(fresh), known + len(answers) - len(fresh)
        for answer in fresh:
            status = "malformed" if answer.status == "retry" else answer.status
            statuses[status] = statuses.get(status, 0) + 1
    return Taken(new, known, dict(sorted(statuses.items())), left, tuple(aside), tuple(kept))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})", "give the output file of a batch, JSONL in UTF-8") from error


def _answer(line: str, by_key: Mapping[str, BatchRecord], forms: Mapping[str, type[BaseModel]]) -> Answer | str:
    """An answer; why a line cannot be used; or nothing, where the request failed there."""
    try:
        row = json.loads(line)
        key = str(row["custom_id"])
    except (ValueError, KeyError, TypeError):
        return "not a line of a batch's output (no custom_id)"
    record = by_key.get(key)
    if record is None or record.form not in forms:
        return f"the custom_id {key[:40]!r} was not exported from this root"
    response = row.get("response") or {}
    if row.get("error") or int(response.get("status_code") or 0) != 200:
        return ""
    try:
        return _made(key, record, response["body"], forms[record.form])
    except (KeyError, IndexError, TypeError, ValidationError) as error:
        return f"its response is no chat completion ({type(error).__name__})"


def _made(key: str, record: BatchRecord, body: Mapping[str, Any], form: type[BaseModel]) -> Answer:
    choice, usage = body["choices"][0], body.get("usage") or {}
    message, finish, model = choice["message"], choice.get("finish_reason"), str(body.get("model") or "")
    told, gave = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    reply = reply_of(message.get("content") or "", message.get("refusal") or "", finish, model, told, gave)
    money = cost_of(told, gave, record.price_in, record.price_out)
    return answer_of(key, record.prompt, reply, form, Spent(1, told, gave, money))
