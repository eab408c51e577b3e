"""What judges said of a selection's negatives, for the audit: one record a judging; its pairs lie in a file by their content."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.store.keys import digest
from tasks.store.seal import put_record, read_record
from tasks.store.storage import Storage

_FOLDER = "manifests/judged/"


class JudgeAgreement(BaseModel):
    """How two of cheap judge, strong judge, teacher and reviewers agree on the pairs that both spoke about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: str
    second: str
    pairs: int
    share: float
    kappa: float | None


class JudgedRecord(BaseModel):
    """One judging of a selection. ``waves``: how often negatives were judged; ``unjudged``: negatives that nobody judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    round: int
    selection_id: str
    recipe: str
    created: str
    settings: dict[str, Any]
    waves: int
    pairs: int
    flagged: int
    relevant: int
    relabelled: int
    unjudged: int
    agreement: tuple[JudgeAgreement, ...] = ()
    stopped: str = ""
    path: str
    bytes: int
    checksum: str


def keep_judged(storage: Storage, record: JudgedRecord) -> None:
    """Write it down; the same again changes nothing."""
    content = record.model_dump(mode="json", exclude={"created"})
    put_record(storage, f"{_FOLDER}{record.dataset}/{record.selection_id[:16]}-{digest(content)[:16]}.json", record)


def judged_manifests(storage: Storage) -> list[str]:
    """Names of all records."""
    return storage.list_names(_FOLDER)


def read_judged(storage: Storage) -> list[JudgedRecord]:
    """Of each selection the last record, by dataset and time."""
    found = sorted(
        (read_record(storage, name, JudgedRecord) for name in judged_manifests(storage)), key=lambda one: (one.dataset, one.created)
    )
    return list({one.selection_id: one for one in found}.values())
