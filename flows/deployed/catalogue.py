"""All that is deployed: flows with their tags, schedules and limits. ``deployments/prefect.yaml`` says the same for ``prefect deploy``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect import Flow
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.types.entrypoint import EntrypointType

from flows.deployed import later, mining, teaching

NIGHTLY = "0 2 * * *"
TAG = "hardmine"


@dataclass(frozen=True)
class Deployable:
    """One deployment.

    Args:
        flow: a flow at the top of its module.
        tags: besides ``hardmine``.
        limit: runs at once; later ones wait. Runs that publish also wait for each other by dataset.
        cron: of a schedule that is there and not active, until a person switches it on.
    """

    flow: Flow[Any, Any]
    tags: tuple[str, ...]
    limit: int
    cron: str = ""

    @property
    def entrypoint(self) -> str:
        """The flow's module path: nothing is copied, the project is installed where it runs."""
        return f"{self.flow.fn.__module__}.{self.flow.fn.__name__}"

    def deployment(self, root: str = "", pool: str | None = None) -> RunnerDeployment:
        """What is put on a server.

        Args:
            root: fills in the form's root.
            pool: a work pool; none: served.
        """
        schedules = [DeploymentScheduleCreate(schedule=CronSchedule(cron=self.cron), active=False, slug="nightly")] if self.cron else []
        made = self.flow.to_deployment(
            name=self.flow.name,
            description=(self.flow.description or "").strip(),
            tags=[TAG, *self.tags],
            parameters={"place": {"root": root}} if root else {},
            schedules=schedules,
            concurrency_limit=ConcurrencyLimitConfig(limit=self.limit, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
            entrypoint_type=EntrypointType.MODULE_PATH,
            work_pool_name=pool,
        )
        assert isinstance(made, RunnerDeployment)
        return made


DEPLOYABLES = (
    Deployable(mining.quickstart, ("mining",), limit=1),
    Deployable(mining.mine, ("mining",), limit=4),
    Deployable(later.select, ("selecting",), limit=4),
    Deployable(later.train, ("training",), limit=1),
    Deployable(teaching.train_teacher, ("training",), limit=1),
    Deployable(later.evaluate, ("training",), limit=2),
    Deployable(mining.remine, ("mining", "scheduled"), limit=1, cron=NIGHTLY),
    Deployable(later.report, ("reading",), limit=2),
)
