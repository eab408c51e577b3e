"""One stage of a plan, and how its time depends on the number of workers."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict


class StagePlan(BaseModel):
    """What a stage will take.

    ``seconds``: of computing, summed over partitions, as manifests have it, without ``start``. ``start``: seconds that each worker pays
    once, to load a model. ``memory``: bytes at the peak of one worker beside what
    the process itself holds. ``bytes``: written. ``saved``: model calls that caches spare; ``None``: not known before the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    partitions: int
    units: int
    unit: str
    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
    start: float = 0.0
    bytes: int = 0
    memory: int = 0
    saved: int | None = 0
    cached: bool = False

    @property
    def computing(self) -> float:
        """Seconds as one worker's manifest will have them, its start included; none where it is cached."""
        return 0.0 if self.cached else self.seconds + self.start

    def wall(self, workers: int) -> float:
        """Seconds on the clock: equal partitions in rounds of ``workers`` at a time, each worker starting its model once.

        One worker with 6 partitions of 10 s takes 60 s, four take two rounds of 10 s.
        """
        if self.cached or self.partitions == 0:
            return 0.0
        return self.start + self.seconds * math.ceil(self.partitions / workers) / self.partitions

    def done(self) -> StagePlan:
        """The same stage, finished before: it costs nothing, and all its model calls are spared."""
        nothing = {"cached": True, "seconds": 0.0, "start": 0.0, "bytes": 0, "memory": 0, "calls": 0, "tokens": 0}
        return self.model_copy(update={**nothing, "saved": self.calls + (self.saved or 0)})
