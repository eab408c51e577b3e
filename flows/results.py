"""What a run gives back: one JSON object, the same for the terminal, a machine and Prefect."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

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
    staleness: StalenessFacts = StalenessFacts()  # earlier rounds' negatives under this round's checkpoint

    @property
    def lost(self) -> float | None:
        """Share of its loss share that the round before's selection lost; none: there is none under another checkpoint."""
        return self.staleness.earlier[0].lost if self.staleness.earlier else None

    @property
    def selection(self) -> SelectionResult:
        """The published one."""
        return next(found for found in self.selections if found.selection_id == self.selection_id)


class CostRecorder:
    """Listens to progress and keeps each stage's cost; passes everything on."""

    def __init__(self, inner: Progress) -> None:
        self._inner = inner
        self.costs: list[StageCost] = []

    def start(self, stage: str, unit: str, total: int, done: int) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        self._inner.start(stage, unit, total, done)

    def advance(self, stage: str, units: int) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        self._inner.advance(stage, units)

    def finish(self, manifest: StageManifest, cached: bool) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        counters = {} if cached else manifest.counters
        self.costs.append(
            StageCost(
                stage=manifest.stage,
                cached=cached,
                seconds=0.0 if cached else manifest.seconds,
                partitions=len(manifest.parts),
                rows=manifest.rows,
                model_calls=counters.get("model_calls", 0),
                cache_hits=counters.get("cache_hits", 0),
            )
        )
        self._inner.finish(manifest, cached)


def sum_meta(manifest: StageManifest, name: str) -> dict[str, int]:
    """A dictionary of counts that each part carries in its meta, summed, largest first."""
    total = add_counters(*(dict(part.meta.get(name, {})) for part in manifest.parts))
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
