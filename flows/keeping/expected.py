"""Which records and pointers must be there: those that another one names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from tasks.audit.records import RoundRecord, stage_refs
from tasks.store.manifest import part_name, stage_name
from tasks.store.pointers import KNOWN

_ROUNDS, _CHECKPOINTS = "pointers/rounds/", "pointers/checkpoints/"


def expected(contents: Mapping[str, Any]) -> dict[str, str]:
    """Names of records and pointers that must be there, and what says so.

    Args:
        contents: of every record and pointer, parsed, by name; ``None`` where it is damaged.
    """
    found: dict[str, str] = {}
    for by, content in contents.items():
        for name in _named(by, content, contents):
            found.setdefault(name, by)
    return found


def _named(by: str, content: Any, contents: Mapping[str, Any]) -> Iterator[str]:
    if by.startswith(KNOWN):
        yield f"pointers/{by.removeprefix(KNOWN)}"
    elif by.startswith(_ROUNDS):
        dataset = by.removeprefix(_ROUNDS).removesuffix(".json")
        yield from (f"pointers/latest/{dataset}.json", "pointers/audit.json")
        for entry in (content or {}).get("rounds", {}).values():
            yield entry["manifest"]
            yield from _stages(contents.get(entry["manifest"]))
    elif by.startswith("pointers/"):
        for name in _records(content):
            yield name
            if by.startswith(_CHECKPOINTS):
                yield from _made(contents.get(name))
    elif isinstance(content, dict) and "parts" in content:
        yield from (part_name(part["stage"], part["key"]) for part in content["parts"])


def _stages(record: Any) -> Iterator[str]:
    """Of a round that is published, all stages."""
    try:
        yield from (stage_name(one.stage, one.key) for one in stage_refs(RoundRecord.model_validate(record)))
    except ValidationError:  # damaged, which is said elsewhere
        return


def _made(record: Any) -> Iterator[str]:
    """Of a checkpoint, the training; of a measure, the evaluation."""
    for role in ("train", "evaluate"):
        if isinstance(record, dict) and role in record:
            yield stage_name(record[role]["stage"], record[role]["key"])


def _records(content: Any) -> Iterator[str]:
    """Records that a pointer names by their path."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        for value in content:
            yield from _records(value)
    elif isinstance(content, str) and content.startswith("manifests/") and content.endswith(".json"):
        yield content
