"""The files of one format of a round, as the pointer to the newest round names them, or as a state remembers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from tasks.audit.latest import latest_of, read_latest
from tasks.audit.records import dataset_names, read_round
from tasks.errors import UsageError, nearest
from tasks.store.storage import Storage
from tasks.stream.files import StreamFile


@dataclass(frozen=True)
class Pointed:
    """Training files of one round, one format and one training stage."""

    dataset: str
    round: int
    selection_id: str
    format: str
    stage: str
    files: tuple[StreamFile, ...]

    @property
    def rows(self) -> int:
        """In all files."""
        return sum(file.rows for file in self.files)

    def as_state(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "files": [asdict(file) for file in self.files]}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Pointed:
        """From :meth:`as_state`, whatever else it holds."""
        names = ("dataset", "round", "selection_id", "format", "stage")
        return cls(**{name: state[name] for name in names}, files=tuple(StreamFile(**file) for file in state["files"]))


def pointed(storage: Storage, dataset: str | None, format_name: str, stage: str = "", number: int | None = None) -> Pointed:
    """What the dataset's pointer names, or a round of it.

    Args:
        storage: the root.
        dataset: name; none: the only one.
        format_name: a training format.
        stage: a curriculum's, as its folder is called after ``data-``; empty: the main one.
        number: of a round; none: the newest that is published.

    Raises:
        UsageError: there is no such dataset, round, format or training stage.
    """
    dataset = dataset or read_round(storage).dataset
    latest = read_latest(storage, dataset) if number is None else latest_of(storage, read_round(storage, dataset, number))
    if latest is None:
        known = dataset_names(storage)
        raise UsageError(
            f"{storage.root}: no round of dataset {dataset!r} with its files",
            nearest(dataset, known) if dataset not in known else "mine it",
        )
    if format_name not in latest["formats"]:
        raise UsageError(
            f"round {dataset}/{latest['round']} was not written as {format_name!r}",
            f"it has {', '.join(sorted(latest['formats']))}; name it in `formats` and run again: no model runs",
        )
    folder = f"data-{stage}" if stage else "data"
    files = [file for file in latest["formats"][format_name]["files"] if PurePosixPath(file["path"]).parent.name == folder]
    if not files:
        stages = {PurePosixPath(file["path"]).parent.name.removeprefix("data-") for file in latest["formats"][format_name]["files"]}
        raise UsageError(
            f"round {dataset}/{latest['round']} has no rows of stage {stage or 'main'!r}", f"it has {', '.join(sorted(stages))}"
        )
    listed = tuple(StreamFile(**file) for file in files)
    return Pointed(dataset, int(latest["round"]), str(latest["selection_id"]), format_name, stage, listed)


def pointed_again(storage: Storage, state: Mapping[str, Any]) -> Pointed:
    """What a state was taken of.

    Raises:
        UsageError: its files are gone.
    """
    found = Pointed.of_state(state)
    gone = [file.path for file in found.files if storage.size(file.path) != file.bytes]
    if gone:
        raise UsageError(
            f"the state is of round {found.dataset}/{found.round}, and {gone[0]} is no longer there",
            "start the epoch anew with the newest round, or pin rounds that are trained on: `hardmine pin`",
        )
    return found
