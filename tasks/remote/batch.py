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

from pydantic import BaseModel, ConfigDict

from tasks.errors import InputError
from tasks.remote.answers import Answer, find, keep
from tasks.remote.body import request_body
from tasks.remote.budget import Spent
from tasks.remote.forms import answer_of, form_schema, now
from tasks.remote.reading import Unreadable, field, reply_from
from tasks.remote.refused import refusal_of
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
        by_status: of the new ones: ok, malformed, refused, rejected.
        left: lines whose request failed there: they are asked again.
        why_left: why the first of them did.
        aside: lines that cannot be used: file:line, reason.
        kept: what was kept, by export.
    """

    answers: int
    known: int
    by_status: Mapping[str, int]
    left: int
    aside: tuple[str, ...]
    why_left: str = ""
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
    left: list[str] = []
    aside: list[str] = []
    for path in paths:
        for number, line in _lines(path):
            found = _answer(line, by_key, forms)
            if isinstance(found, Answer):
                earlier = made.get(found.key)
                if _says_more(found, earlier):  # a request that was sent again: what its first answer cost is counted too
                    made[found.key] = _with_earlier(found, earlier)
            elif isinstance(found, _Failed):
                left.append(found.reason)
            else:
                aside.append(f"{path}:{number}: {found}")
    groups = [(record, [made[key] for key in record.keys if key in made and by_key[key] is record]) for record in records]
    return _kept(storage, groups, left, aside)


def _kept(storage: Storage, groups: Sequence[tuple[BatchRecord, Sequence[Answer]]], left: Sequence[str], aside: Sequence[str]) -> Taken:
    new, known, kept = 0, 0, []
    statuses: dict[str, int] = {}
    for record, answers in groups:
        found = find(storage, record.store, {answer.key for answer in answers})
        fresh = tuple(answer for answer in answers if _says_more(answer, found.get(answer.key)))
        keep(storage, record.store, [_with_earlier(answer, found.get(answer.key)) for answer in fresh])
        kept += [(record, fresh)] if fresh else []
        new, known = new + len(fresh), known + len(answers) - len(fresh)
        for answer in fresh:
            status = "malformed" if answer.status == "retry" else answer.status
            statuses[status] = statuses.get(status, 0) + 1
    return Taken(new, known, dict(sorted(statuses.items())), len(left), tuple(aside), left[0] if left else "", tuple(kept))


def _says_more(answer: Answer, known: Answer | None) -> bool:
    """Whether an answer is to be kept beside what is known; the same malformed one again is not."""
    if known is None or known.status == answer.status == "retry":
        return known is None or known.content != answer.content
    return known.status == "retry" or (known.status == "rejected" and answer.status != "rejected")


def _with_earlier(answer: Answer, earlier: Answer | None) -> Answer:
    """An answer with what malformed ones before it cost."""
    if earlier is None or earlier.status != "retry":
        return answer
    cost = answer.spent + earlier.spent
    tokens = {"prompt_tokens": cost.prompt_tokens, "completion_tokens": cost.completion_tokens}
    return answer.model_copy(update={"calls": cost.calls, "money": cost.money, **tokens})


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from ((number, line) for number, line in enumerate(file, 1) if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})", "give the output file of a batch, JSONL in UTF-8") from error


@dataclass(frozen=True)
class _Failed:
    """A line whose request failed there: it is asked again."""

    reason: str


def _answer(line: str, by_key: Mapping[str, BatchRecord], forms: Mapping[str, type[BaseModel]]) -> Answer | _Failed | str:
    """An answer; or that the request failed there; or why a line cannot be used."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return "not a line of JSON"
    key = field(row, "custom_id")
    if not isinstance(key, str):
        return "not a line of a batch's output (no custom_id)"
    record = by_key.get(key)
    if record is None or record.form not in forms:
        return f"the custom_id {key[:40]!r} was not exported from this root"
    response = field(row, "response")
    if field(row, "error") or str(field(response, "status_code")) != "200":
        return _failed(key, record, field(response, "status_code"), field(row, "error") or field(response, "body"))
    try:
        return _made(key, record, field(response, "body"), forms[record.form])
    except Unreadable as error:
        return f"its response is no chat completion: {error}"


def _failed(key: str, record: BatchRecord, status: Any, told: Any) -> Answer | _Failed:
    """Where the endpoint did not take a request for what is in it, that is its answer."""
    refusal = refusal_of(status if isinstance(status, int) else 0, told)
    reason = refusal.reason.removeprefix("HTTP 0").lstrip(" :") or "no reason is told"
    if status in (400, 413, 422) and refusal.about_content:
        return Answer(key=key, prompt=record.prompt, status="rejected", reason=reason, calls=1, asked=now())
    return _Failed(f"{reason} ({refusal.mend})" if refusal.mend else reason)


def _made(key: str, record: BatchRecord, body: Any, form: type[BaseModel]) -> Answer:
    reply = reply_from(body)
    told, gave = reply.prompt_tokens or 0, reply.completion_tokens or 0
    money = cost_of(told, gave, record.price_in, record.price_out)
    return answer_of(key, record.prompt, reply, form, Spent(1, told, gave, money))
