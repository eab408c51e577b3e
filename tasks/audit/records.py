"""Rounds: which candidates, which selections of them, what they cost. Immutable records behind one pointer a dataset.

A round is one candidate set of a dataset. The same candidates give the same round; another recipe adds a selection to
it. The pointer ``rounds/<dataset>`` names each round's present record, and the newest round: the one with the highest number. An earlier
round that is asked for again, from the cache as a rule, stays the earlier one: no reader's pointer goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tasks.errors import StorageError, UsageError, nearest
from tasks.store.keys import digest
from tasks.store.manifest import stage_name
from tasks.store.pointers import read_pointer, rebuild_pointer, update_pointer
from tasks.store.seal import find_record, put_record, read_record
from tasks.store.storage import Storage

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StageRef(_Record):
    """A committed stage."""

    stage: str
    key: str


class ShardsRef(StageRef):
    """The training files of one format, and the folder under the root that a trainer is pointed to."""

    folder: str


class SelectionRecord(_Record):
    """One recipe's decisions over a round's candidates."""

    selection_id: str
    recipe: str
    select: StageRef
    shards: dict[str, ShardsRef] = {}
    gate: dict[str, Any] = {}
    num_negatives: int | None = None  # as asked; without it the most that a row got
    recipe_settings: dict[str, Any] = {}
    measures: StageRef | None = None  # stage measure: rates of false negatives, histograms, suspects
    features: dict[str, StageRef] = {}  # the feature stages that the recipe read, by name


class Outlay(_Record):
    """What one stage was planned to take and took, in the run that made a round; ``None``: it was not planned.

    ``seconds``: of computing, summed over partitions; 0 where it was cached.
    """

    stage: str
    planned_seconds: float | None
    seconds: float
    planned_calls: int | None
    model_calls: int
    planned_bytes: int | None
    bytes: int


class RoundRecord(_Record):
    """One round. ``number`` 0: not published yet. ``selection_id``: the selection that was published last."""

    dataset: str = Field(pattern=_NAME)
    number: int = 0
    candidate_set_id: str
    selection_id: str
    created: str
    selections: tuple[SelectionRecord, ...]
    stages: tuple[StageRef, ...]
    settings: dict[str, Any] = {}
    roles: dict[str, StageRef] = {}  # documents, queries, document_vectors, query_vectors, scored: what selections read; calibrate
    outlays: tuple[Outlay, ...] = ()  # planned and actual, of the run that made it, where there was a plan
    staleness: StageRef | None = None  # stage staleness-summary: what this round's checkpoint makes of earlier rounds' negatives

    def selection(self, selection_id: str | None = None) -> SelectionRecord:
        """A selection by its id, the recipe's name, or the beginning of its id; by default the last one.

        Raises:
            UsageError: there is none, or several.
        """
        wanted = selection_id or self.selection_id
        found = [selection for selection in self.selections if wanted in (selection.selection_id, selection.recipe)]
        found = found or [selection for selection in self.selections if selection.selection_id.startswith(wanted)]
        if len(found) != 1:
            known = [f"{selection.recipe} ({selection.selection_id[:12]})" for selection in self.selections]
            raise UsageError(
                f"round {self.number} of {self.dataset!r}: {len(found)} selections match {wanted!r}", f"known: {', '.join(known)}"
            )
        return found[0]

    def role(self, name: str) -> StageRef:
        """What plays a role in the round (``documents`` may be chunks), else the last stage of that name.

        Raises:
            UsageError: the round has neither.
        """
        return self.roles.get(name) or self.stage(name)

    def stage(self, name: str) -> StageRef:
        """The last stage of that name.

        Raises:
            UsageError: the round has none.
        """
        for stage in reversed(self.stages):
            if stage.stage == name:
                return stage
        raise UsageError(
            f"round {self.number} of {self.dataset!r} has no stage {name!r}", nearest(name, {stage.stage for stage in self.stages})
        )


def publish_round(storage: Storage, record: RoundRecord, add_only: bool = False) -> RoundRecord:
    """Make a round visible; if it is a new one, it is the dataset's newest.

    If the dataset has a round with these candidates, the selections join it (one of the same id is replaced, its formats
    and measures are kept where none are given); else the round gets the next number.
    Two publishers at once both succeed, one after the other. Last of all the trainers' pointer moves (:mod:`tasks.audit.latest`).

    Args:
        storage: the root.
        record: the round.
        add_only: add selections to a round that is there; which selection of it counts as the last stays as it is.

    Returns:
        The record as published, with its number.

    Raises:
        StorageError: a stage that the record names is gone: it was cleared away while this run was stopped.
    """
    _require_stages(storage, record)
    published: list[RoundRecord] = []

    def change(present: dict[str, Any] | None) -> dict[str, Any]:
        rounds: dict[str, dict[str, str]] = dict((present or {}).get("rounds", {}))
        same = [number for number, entry in rounds.items() if entry["candidate_set_id"] == record.candidate_set_id]
        if same:
            old = _read(storage, rounds[same[0]]["manifest"])
            merged = _merge(old, record)
            if add_only:
                merged = merged.model_copy(update={"selection_id": old.selection_id})
        else:
            merged = record.model_copy(update={"number": max(map(int, rounds), default=0) + 1})
        content = merged.model_dump(mode="json")
        name = f"manifests/rounds/{record.dataset}/{merged.number}-{digest(content)[:16]}.json"
        put_record(storage, name, merged)
        rounds[str(merged.number)] = {"manifest": name, "candidate_set_id": merged.candidate_set_id}
        published[:] = [merged]
        return {"latest": max(map(int, rounds)), "rounds": rounds}

    update_pointer(storage, f"rounds/{record.dataset}", change)
    update_pointer(storage, "datasets", lambda present: {"names": sorted({*(present or {}).get("names", []), record.dataset})})
    from tasks.audit.latest import move_latest  # it reads records

    move_latest(storage, record.dataset, published[0].number)
    return published[0]


def _require_stages(storage: Storage, record: RoundRecord) -> None:
    """What is published is there."""
    named = stage_refs(record)
    with ThreadPoolExecutor(16) as threads:
        sizes = list(threads.map(lambda one: storage.size(stage_name(one.stage, one.key)), named))
    gone = [one.stage for one, size in zip(named, sizes, strict=True) if size is None]
    if gone:
        raise StorageError(f"{storage.root}: stages that were done are gone: {', '.join(gone)}", "run again: they are rebuilt")


def stage_refs(record: RoundRecord) -> list[StageRef]:
    """All stages of a round, each once: the round's own, and each selection's features, selecting, writing and measuring."""
    own: list[StageRef] = [*record.roles.values(), *([record.staleness] if record.staleness else [])]
    for chosen in record.selections:
        own += [*chosen.features.values(), chosen.select, *chosen.shards.values(), *([chosen.measures] if chosen.measures else [])]
    return list(dict.fromkeys(StageRef(stage=ref.stage, key=ref.key) for ref in (*record.stages, *own)))


def rebuild_rounds(storage: Storage, dataset: str) -> int:
    """Make a dataset's pointer anew from the records of its rounds: of each round the one with most selections, for records only grow.

    Returns:
        How many rounds it names.
    """
    best: dict[int, tuple[int, str, RoundRecord]] = {}
    for name in storage.list_names(f"manifests/rounds/{dataset}/"):
        record = find_record(storage, name, RoundRecord)
        if record is not None:
            size = len(record.stages) + sum(1 + len(one.shards) for one in record.selections)
            best[record.number] = max(best.get(record.number, (0, "", record)), (size, name, record), key=lambda one: one[:2])
    rounds = {str(number): {"manifest": name, "candidate_set_id": one.candidate_set_id} for number, (_, name, one) in best.items()}
    if rounds:
        rebuild_pointer(storage, f"rounds/{dataset}", {"latest": max(best), "rounds": rounds})
    return len(rounds)


def rebuild_datasets(storage: Storage) -> None:
    """Make the list of datasets anew from the records."""
    names = sorted({name.split("/")[2] for name in storage.list_names("manifests/rounds/")})
    rebuild_pointer(storage, "datasets", {"names": names})


def read_round(storage: Storage, dataset: str | None = None, number: int | None = None) -> RoundRecord:
    """A round; by default the newest of the dataset, of the only dataset.

    Raises:
        UsageError: there is no such dataset or round.
    """
    dataset = dataset or _only(dataset_names(storage))
    pointer = read_pointer(storage, f"rounds/{dataset}")
    if pointer is None:
        raise UsageError(f"there is no round of a dataset {dataset!r}", nearest(dataset, dataset_names(storage)))
    entry = pointer["rounds"].get(str(pointer["latest"] if number is None else number))
    if entry is None:
        known = ", ".join(sorted(pointer["rounds"], key=int))
        raise UsageError(f"dataset {dataset!r} has no round {number}", f"its rounds: {known}")
    return _read(storage, entry["manifest"])


def list_rounds(storage: Storage, dataset: str | None = None) -> list[RoundRecord]:
    """All rounds of one dataset, or of all, by dataset and number."""
    return [_read(storage, name) for name in round_manifests(storage, dataset)]


def round_manifests(storage: Storage, dataset: str | None = None) -> list[str]:
    """Names of the rounds' present records, by dataset and number."""
    names: list[str] = []
    for known in [dataset] if dataset else dataset_names(storage):
        rounds = (read_pointer(storage, f"rounds/{known}") or {"rounds": {}})["rounds"]
        names += [rounds[number]["manifest"] for number in sorted(rounds, key=int)]
    return names


def dataset_names(storage: Storage) -> list[str]:
    """Datasets that have rounds."""
    return list((read_pointer(storage, "datasets") or {"names": []})["names"])


def _read(storage: Storage, name: str) -> RoundRecord:
    return read_record(storage, name, RoundRecord)


def _merge(old: RoundRecord, new: RoundRecord) -> RoundRecord:
    selections = {selection.selection_id: selection for selection in old.selections}
    for selection in new.selections:
        before = selections.get(selection.selection_id)
        selections[selection.selection_id] = _follow(before, selection) if before else selection
    return new.model_copy(
        update={
            "number": old.number,
            "created": old.created,
            "selections": tuple(selections.values()),
            "stages": _distinct([*old.stages, *new.stages]),
            "roles": {**old.roles, **new.roles},
            "outlays": old.outlays or new.outlays,
            "staleness": new.staleness or old.staleness,
        }
    )


def _follow(before: SelectionRecord, after: SelectionRecord) -> SelectionRecord:
    """A selection that was published again: what it was not given anew stays."""
    update: dict[str, Any] = {"shards": {**before.shards, **after.shards}, "features": {**before.features, **after.features}}
    return after.model_copy(update={**update, "measures": after.measures or before.measures})


def _distinct(stages: Iterable[StageRef]) -> tuple[StageRef, ...]:
    return tuple({(stage.stage, stage.key): stage for stage in stages}.values())


def _only(names: Sequence[str]) -> str:
    if not names:
        raise UsageError("there is no round yet", "run `hardmine mine run.yaml` or `hardmine quickstart`")
    if len(names) > 1:
        raise UsageError(f"there are {len(names)} datasets", f"name one of {', '.join(names)}")
    return names[0]
