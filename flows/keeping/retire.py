"""Rounds that are no longer published, and rounds that are pinned."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, Field

from tasks.audit.best import read_best
from tasks.audit.checkpoints import keep_readings, read_trainings, records_of
from tasks.audit.records import RoundRecord, dataset_names, list_rounds
from tasks.store.pointers import read_pointer, update_pointer
from tasks.store.storage import Storage


class Retired(BaseModel):
    """One dataset's rounds that go, and how many checkpoints go with them. ``contents``: its pointers afterwards."""

    dataset: str
    rounds: tuple[int, ...]
    checkpoints: int
    contents: dict[str, bytes] = Field({}, exclude=True)


def pinned(storage: Storage, dataset: str) -> set[int]:
    """Rounds that stay published whatever happens."""
    return set((read_pointer(storage, f"pins/{dataset}") or {"rounds": []})["rounds"])


def pin(storage: Storage, record: RoundRecord, off: bool = False) -> None:
    """Pin a round, or take its pin off."""

    def change(present: dict[str, Any] | None) -> dict[str, Any]:
        rounds = set((present or {"rounds": []})["rounds"])
        return {"rounds": sorted(rounds - {record.number} if off else rounds | {record.number})}

    update_pointer(storage, f"pins/{record.dataset}", change)


def retire(storage: Storage, keep: int | None, apply: bool) -> list[Retired]:
    """Take old rounds out of their datasets' pointers, and checkpoints that were trained on them and that no other round needs.

    A loop's best checkpoint stays. Of those that go it stays known on which splits they were measured: test is not read again for that.

    Args:
        storage: the root.
        keep: so many of a dataset's newest rounds stay, and pinned ones; none: all.
        apply: false: only say what would go.
    """
    if keep is None:
        return []
    found = []
    for dataset in dataset_names(storage):
        records = list_rounds(storage, dataset)
        newest = sorted((record.number for record in records), reverse=True)[: max(keep, 1)]
        stay = {*newest, *pinned(storage, dataset)}
        going = tuple(record.number for record in records if record.number not in stay)
        if going:
            found.append(_retire(storage, dataset, [record for record in records if record.number in stay], going, apply))
    return found


def _retire(storage: Storage, dataset: str, staying: list[RoundRecord], going: tuple[int, ...], apply: bool) -> Retired:
    text = "".join(record.model_dump_json() for record in staying)
    if (best := read_best(storage, dataset)) is not None:
        text += best.model_dump_json()
    models = {
        one.model for one in read_trainings(storage, dataset) if one.round in going and one.model not in text and one.path not in text
    }
    dropped = records_of(storage, dataset, models)

    def without_rounds(present: dict[str, Any] | None) -> dict[str, Any] | None:
        rounds = {number: entry for number, entry in (present or {"rounds": {}})["rounds"].items() if int(number) not in going}
        return {**present, "rounds": rounds} if present else None

    def without_models(present: dict[str, Any] | None) -> dict[str, Any] | None:
        return {kind: [name for name in names if name not in dropped] for kind, names in present.items()} if present else None

    if apply:
        keep_readings(storage, dataset, dropped)
    contents = {}
    for name, change in ((f"rounds/{dataset}", without_rounds), (f"checkpoints/{dataset}", without_models)):
        after = update_pointer(storage, name, change) if apply else change(read_pointer(storage, name))
        contents[f"pointers/{name}.json"] = json.dumps(after or {}).encode()
    return Retired(dataset=dataset, rounds=going, checkpoints=len(models), contents=contents)
