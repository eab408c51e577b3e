"""A whole plan: all stages, what is finished already, totals for any number of workers, and what that costs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pydantic import BaseModel, ConfigDict

from tasks.plan import models, search, tables
from tasks.plan.speeds import Speeds
from tasks.plan.stage import StagePlan
from tasks.plan.workload import Workload

STARTING = 6.0  # seconds on the clock for Python, Prefect and Dask to start and end
BETWEEN = 0.12  # seconds on the clock for a stage, whatever it does
HANDED = 0.01  # seconds on the clock for a partition to be handed out and committed
MOST_WORKERS = 4_096


class Plan(BaseModel):
    """What a run will take.

    ``resident``: bytes of a worker's process beside what its partition holds. ``notes``: what is assumed or unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    documents: int
    queries: int
    stages: tuple[StagePlan, ...]
    resident: int
    notes: tuple[str, ...] = ()

    @property
    def computing(self) -> float:
        """Seconds of computing on one worker: what the manifests will add up to."""
        return sum(stage.computing for stage in self.stages)

    @property
    def bytes(self) -> int:
        """Bytes that are written."""
        return sum(stage.bytes for stage in self.stages)

    @property
    def memory(self) -> int:
        """Bytes of one worker at its peak; the process alone where all is cached."""
        return self.resident + max((stage.memory for stage in self.stages), default=0)

    @property
    def calls(self) -> int:
        """Inputs that models are run on."""
        return sum(stage.calls for stage in self.stages)

    @property
    def saved(self) -> int:
        """Inputs that caches spare, as far as that is known."""
        return sum(stage.saved or 0 for stage in self.stages)

    def wall(self, workers: int) -> float:
        """Seconds on the clock, one stage after the other; a run that is cached as a whole starts nothing."""
        left = [stage for stage in self.stages if not stage.cached]
        handed = HANDED * sum(stage.partitions for stage in left)
        return STARTING + BETWEEN * len(self.stages) + handed + sum(stage.wall(workers) for stage in left) if left else 2.0

    def workers_within(self, seconds: float) -> int | None:
        """The fewest workers that are done in that time; ``None``: no number is.

        More workers are never slower, so the number is found by halving.
        """
        if self.wall(MOST_WORKERS) > seconds:
            return None
        low, high = 1, MOST_WORKERS
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.wall(middle) <= seconds else (middle + 1, high)
        return low

    def slowest(self, workers: int) -> StagePlan | None:
        """The stage that takes longest on so many workers."""
        return max(self.stages, key=lambda stage: stage.wall(workers), default=None)


class Prices(BaseModel):
    """What things cost, in any currency.

    ``hour``: of one worker. ``month``: of storing 10^9 bytes for a month.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hour: float = 0.0
    month: float = 0.0

    def of_run(self, plan: Plan, workers: int) -> float:
        """All workers are held while the run lasts."""
        return self.hour * workers * plan.wall(workers) / 3600

    def of_storage(self, plan: Plan) -> float:
        """A month of what the run writes."""
        return self.month * plan.bytes / 1e9


def make_plan(dataset: str, work: Workload, speeds: Speeds, cached: Collection[str] = (), notes: Sequence[str] = ()) -> Plan:
    """The plan of a round.

    Args:
        dataset: its name.
        work: what is to be done.
        speeds: of this machine.
        cached: stages that are committed as a whole.
        notes: what is assumed or unknown.
    """
    stages = [tables.ingest(work), *tables.corpus(work), *models.embed(work, speeds), *search.dense(work, speeds)]
    if work.depth.bm25:
        stages += search.bm25(work)
    stages.append(search.candidates(work))
    if work.training is not None and speeds.training is not None:
        stages.append(models.train(work, work.training, speeds.training))
    if work.depth.teacher and work.scored is not None and speeds.teacher is not None:
        stages.append(models.score(work, speeds.teacher))
    stages += [*tables.after_scoring(work), *tables.selections(work)]
    return Plan(
        dataset=dataset,
        documents=work.documents,
        queries=work.mined,
        stages=tuple(_starts([stage.done() if stage.stage in cached else stage for stage in stages], speeds)),
        resident=speeds.resident,
        notes=tuple(notes),
    )


def _starts(stages: Sequence[StagePlan], speeds: Speeds) -> list[StagePlan]:
    """Imports are paid by the first stage that runs a model, and one encoder for documents and queries is loaded once."""
    made, loaded = [], False
    for stage in stages:
        if stage.calls and not stage.cached:
            again = stage.stage == "embed-queries" and loaded and speeds.queries == speeds.documents
            stage = stage.model_copy(update={"start": 0.0 if again else stage.start + (0.0 if loaded else speeds.imports)})
            loaded = True
        made.append(stage)
    return made
