"""What a run gives back: one JSON object, the same for the terminal, a machine and Prefect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.audit.records import Outlay, StageRef
from tasks.runner.runner import Progress
from tasks.staleness.facts import StalenessFacts
from tasks.store.manifest import StageManifest, add_counters


class StageCost(BaseModel):
    """What one stage took in this run: nothing where it was cached."""

    model_config = ConfigDict(frozen=True)
    stage: str
    cached: bool
    seconds: float
    partitions: int
    rows: int
    bytes: int
    model_calls: int
    cache_hits: int


class SelectionResult(BaseModel):
    """One recipe's outcome."""

    model_config = ConfigDict(frozen=True)
    recipe: str
    selection_id: str
    decisions: dict[str, int]
    reasons: dict[str, int]
    negatives_per_row: dict[str, int]
    shards: dict[str, str]
    gate: dict[str, Any]
    hubs: tuple[tuple[str, int], ...] = ()  # the documents that are a negative for most queries, and for how many
    measures: dict[str, Any] = {}  # estimates of false negatives {estimator: [rate, low, high, pairs, note]}, yield, hardness
    left_out: dict[str, int] = {}  # queries whose rows no training file has, by split: they must not be trained on
    of_split: dict[str, int] = {}  # queries whose rows are there only because dataset.split names theirs


def split_notes(selection: SelectionResult) -> Iterator[str]:
    """One note where rows are left out of the training files for their query's split, and one where they are not.

    >>> empty = {"decisions": {}, "reasons": {}, "negatives_per_row": {}, "shards": {}, "gate": {}}
    >>> list(split_notes(SelectionResult(recipe="top", selection_id="s", left_out={"test": 900, "dev": 24}, **empty)))
    ['rows of 924 queries of splits dev and test are left out of the training files']
    """
    if selection.left_out:
        names = sorted(selection.left_out)
        listed = f"splits {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"split {names[0]}"
        yield f"rows of {sum(selection.left_out.values()):,} queries of {listed} are left out of the training files"
    for name, count in selection.of_split.items():
        yield f"the training files hold {count:,} queries of split {name}, since dataset.split names it: measure on others"


class MineResult(BaseModel):
    """One round's outcome."""

    model_config = ConfigDict(frozen=True)
    root: str
    round: str
    dataset: str
    number: int
    candidate_set_id: str
    selection_id: str
    documents: int
    queries: int
    rejected_input: int
    selections: tuple[SelectionResult, ...]
    stages: tuple[StageCost, ...]
    facts: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    outlays: tuple[Outlay, ...] = ()  # planned and actual, where there was a plan
    staleness: StalenessFacts = StalenessFacts()  # earlier rounds' negatives under this round's checkpoint

    @property
    def selection(self) -> SelectionResult:
        """The published one."""
        return next(found for found in self.selections if found.selection_id == self.selection_id)


class CostRecorder:
    """Listens to progress and keeps each stage's name and cost; passes everything on."""

    def __init__(self, inner: Progress) -> None:
        self._inner = inner
        self.costs: list[StageCost] = []
        self.references: list[StageRef] = []

    def start(self, stage: str, unit: str, total: int, done: int) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        self._inner.start(stage, unit, total, done)

    def advance(self, stage: str, units: int) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        self._inner.advance(stage, units)

    def finish(self, manifest: StageManifest, cached: bool) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        self.references.append(StageRef(stage=manifest.stage, key=manifest.key))
        counters = {} if cached else manifest.counters
        self.costs.append(
            StageCost(
                stage=manifest.stage,
                cached=cached,
                seconds=0.0 if cached else manifest.seconds,
                partitions=len(manifest.parts),
                rows=manifest.rows,
                bytes=0 if cached else manifest.bytes,
                model_calls=counters.get("model_calls", 0),
                cache_hits=counters.get("cache_hits", 0),
            )
        )
        self._inner.finish(manifest, cached)

    def say(self, text: str) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        self._inner.say(text)


def total_meta(manifest: StageManifest, names: Sequence[str]) -> dict[str, int]:
    """Counts that each part carries in its meta, summed by name."""
    return {name: sum(int(part.meta[name]) for part in manifest.parts) for name in names}


def sum_meta(manifest: StageManifest, name: str) -> dict[str, int]:
    """A dictionary of counts that each part carries in its meta, summed, largest first."""
    total = add_counters(*(dict(part.meta.get(name, {})) for part in manifest.parts))
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
