"""What was asked of language models, for the audit: one record an asking, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.remote.answers import Answer
from tasks.remote.ask import Asked
from tasks.remote.batch import BatchRecord
from tasks.remote.settings import ChatSettings
from tasks.store.keys import digest
from tasks.store.seal import put_record, read_record
from tasks.store.storage import Storage

_FOLDER = "manifests/asks/"


class AskRecord(BaseModel):
    """One asking: a command's questions to one model.

    ``purpose``: judge (cheap, strong), write negatives, write queries. ``cached``: answers that were there before. ``rejected``: questions
    that the endpoint did not take; ``failed``: to which it gave nothing; ``left``: all without an answer. Seconds are of the answers that
    this asking paid for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    round: int
    purpose: str
    model: str
    revision: str
    prompt: str
    created: str
    questions: int
    cached: int
    answered: int
    malformed: int
    refused: int
    rejected: int = 0
    failed: int
    left: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    money: float
    seconds_median: float | None
    seconds_95: float | None
    stopped: str = ""


def keep_asking(
    storage: Storage, dataset: str, number: int, purpose: str, settings: ChatSettings, prompt: str, asked: Asked[Any]
) -> AskRecord:
    """Write down what an asking was and cost. One that sent nothing and found all is not recorded: it says nothing new.

    Args:
        storage: the root.
        dataset: whose queries or documents.
        number: of the round; 0: of none.
        purpose: what for.
        settings: the model.
        prompt: label of its prompt.
        asked: what came of it.
    """
    new = _new(asked)
    seconds = [answer.seconds for answer in new]
    record = AskRecord(
        dataset=dataset,
        round=number,
        purpose=purpose,
        model=settings.model,
        revision=settings.revision,
        prompt=prompt,
        created=datetime.now(UTC).isoformat("T", "milliseconds"),
        questions=len(asked.answers),
        cached=asked.cached,
        answered=len(new),
        rejected=asked.count("rejected"),
        malformed=asked.count("malformed"),
        refused=asked.count("refused"),
        failed=len(asked.failures),
        left=asked.open,
        calls=asked.spent.calls,
        prompt_tokens=asked.spent.prompt_tokens,
        completion_tokens=asked.spent.completion_tokens,
        money=asked.spent.money,
        seconds_median=float(np.median(seconds)) if seconds else None,
        seconds_95=float(np.quantile(seconds, 0.95)) if seconds else None,
        stopped=asked.stopped,
    )
    if asked.spent.calls or asked.open:
        _put(storage, record)
    return record


def keep_import(storage: Storage, record: BatchRecord, answers: Sequence[Answer]) -> None:
    """Write down what answers that came by file cost; their latency is not known, and what failed there is in no answer.

    Args:
        storage: the root.
        record: the export that they answer.
        answers: that were kept.
    """
    statuses = [answer.status for answer in answers]
    found = AskRecord(
        dataset=record.dataset,
        round=record.round,
        purpose=f"{record.purpose} (batch)",
        model=record.model,
        revision=record.revision,
        prompt=record.prompt,
        created=datetime.now(UTC).isoformat("T", "milliseconds"),
        questions=len(record.keys),
        cached=0,
        answered=len(answers) - statuses.count("retry") - statuses.count("rejected"),
        rejected=statuses.count("rejected"),
        malformed=statuses.count("retry"),
        refused=statuses.count("refused"),
        failed=0,
        left=len(record.keys) - len(answers),
        calls=sum(answer.calls for answer in answers),
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        completion_tokens=sum(answer.completion_tokens for answer in answers),
        money=sum(answer.money for answer in answers),
        seconds_median=None,
        seconds_95=None,
    )
    _put(storage, found)


def _put(storage: Storage, record: AskRecord) -> None:
    put_record(storage, f"{_FOLDER}{record.dataset}/{record.created}-{digest(record.model_dump(mode='json'))[:16]}.json", record)


def ask_manifests(storage: Storage) -> list[str]:
    """Names of all records, by dataset and time."""
    return storage.list_names(_FOLDER)


def read_asks(storage: Storage) -> list[AskRecord]:
    """All records, by dataset and time."""
    return [read_record(storage, name, AskRecord) for name in ask_manifests(storage)]


def _new(asked: Asked[Any]) -> Sequence[Answer]:
    """The different answers that this asking paid for; what the endpoint did not take is none."""
    paid = (one for one in asked.answers if one is not None and one.key in asked.new and one.status != "rejected")
    return list({answer.key: answer for answer in paid}.values())
