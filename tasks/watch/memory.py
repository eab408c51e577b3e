"""Which checkpoints of a dataset were mined: by content, in the pointer ``watch/<dataset>``, so that a restart knows them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.store.pointers import read_pointer, update_pointer
from tasks.store.storage import Storage
from tasks.watch.checkpoint import order_of


class Mined(BaseModel):
    """A checkpoint that was mined: what it was called, where it lay, and which round it gave."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    place: str
    written: float
    step: int
    round: int
    created: str

    def order(self, newest_by: str) -> tuple[float, float, str]:
        """As :meth:`tasks.watch.checkpoint.Checkpoint.order`."""
        return order_of(self.name, self.step, self.written, newest_by)


def read_mined(storage: Storage, dataset: str) -> dict[str, Mined]:
    """What was mined, by content."""
    present = read_pointer(storage, f"watch/{dataset}") or {"mined": {}}
    return {content: Mined.model_validate(one) for content, one in present["mined"].items()}


def add_mined(storage: Storage, dataset: str, content: str, mined: Mined) -> dict[str, Mined]:
    """Remember one more; what was mined, by content, with it."""

    def change(present: dict[str, Any] | None) -> dict[str, Any]:
        return {"mined": {**(present or {"mined": {}})["mined"], content: mined.model_dump(mode="json")}}

    update_pointer(storage, f"watch/{dataset}", change)
    return read_mined(storage, dataset)
