"""The best checkpoint of a dataset's loop, behind a pointer: what is kept whatever else goes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.store.pointers import read_pointer, update_pointer
from tasks.store.storage import Storage


class Best(BaseModel):
    """The checkpoint that a loop measured highest.

    Args:
        dataset: name.
        round: whose rows it was trained on; 0: the model that the loop began with, which none beat.
        path: where it lies; ``root:…`` in the root.
        model: its fingerprint.
        measure: by which it was chosen.
        split: on whose queries.
        value: its mean over them.
        trained: how many checkpoints the loop compared it with, itself among them; the model that it began with is none of them.
    """

    model_config = ConfigDict(frozen=True)
    dataset: str
    round: int
    path: str
    model: str
    measure: str
    split: str
    value: float
    trained: int


def keep_best(storage: Storage, best: Best) -> None:
    """Let the dataset's pointer name what its last loop found best."""
    update_pointer(storage, _pointer(best.dataset), lambda _: best.model_dump(mode="json"))


def read_best(storage: Storage, dataset: str) -> Best | None:
    """What the dataset's last loop found best; none: no loop has ended."""
    held = read_pointer(storage, _pointer(dataset))
    return None if held is None else Best.model_validate(held)


def _pointer(dataset: str) -> str:
    return f"best/{dataset}"
