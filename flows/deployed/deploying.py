"""Put everything on a server: deployments, schedules, automations, limits. Again and again without doubles."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound

from flows.deployed.automations import apply_automations, automations
from flows.deployed.catalogue import DEPLOYABLES
from flows.deployed.forms import merged
from flows.deployed.place import ensure_limit
from tasks.audit.records import dataset_names
from tasks.errors import UsageError
from tasks.store.storage import open_storage

_OF_SCHEDULES = {"schedule", "active", "max_scheduled_runs", "parameters", "slug"}


def deploy(root: str = "", pool: str | None = None) -> dict[str, UUID]:
    """Put all deployments on the server that PREFECT_API_URL names, and what belongs to them.

    What a person set there stays: automations on or off, and of deployments what ``prepared`` names.

    Args:
        root: what the forms fill in; its datasets get their limits.
        pool: a work pool that is there; none: runs are done by ``hardmine serve``.

    Returns:
        Ids by name.

    Raises:
        UsageError: there is no such work pool.
    """
    with get_client(sync_client=True) as client:
        _check_pool(client, pool)
        made = {one.name: _apply(one) for one in prepared(root, pool)}
        apply_automations(client, automations(made))
    for dataset in dataset_names(open_storage(root)) if root else ():
        ensure_limit(dataset)
    return made


def prepared(root: str = "", pool: str | None = None) -> list[RunnerDeployment]:
    """All deployments; those that are on the server keep parameters, job variables, limits and schedules that were set there.

    Args:
        root: goes over the root that is in their parameters.
        pool: a work pool that is there; none: they are served.
    """
    with get_client(sync_client=True) as client:
        return [_kept(client, one.deployment(root, pool)) for one in DEPLOYABLES]


def _apply(deployment: RunnerDeployment) -> UUID:
    found = deployment.apply()
    assert isinstance(found, UUID)
    return found


def _kept(client: SyncPrefectClient, deployment: RunnerDeployment) -> RunnerDeployment:
    try:
        present = client.read_deployment_by_name(f"{deployment.flow_name}/{deployment.name}")
    except ObjectNotFound:
        return deployment
    limit = present.global_concurrency_limit
    deployment.parameters = merged(present.parameters, deployment.parameters)
    deployment.job_variables = merged(deployment.job_variables, present.job_variables)
    deployment.concurrency_limit = limit.limit if limit else None
    deployment.concurrency_options = present.concurrency_options or deployment.concurrency_options
    deployment.paused = present.paused
    named = {one.slug for one in present.schedules}
    # all of them: where one has no slug, the server puts those that it is given in place of those that it has
    kept = [DeploymentScheduleCreate(**one.model_dump(include=_OF_SCHEDULES)) for one in present.schedules]
    deployment.schedules = [*kept, *(one for one in deployment.schedules or [] if one.slug not in named)]
    return deployment


def _check_pool(client: SyncPrefectClient, pool: str | None) -> None:
    if pool is None:
        return
    try:
        client.read_work_pool(pool)
    except ObjectNotFound:
        raise UsageError(
            f"work pool {pool!r}: there is none on this server", f"make it: prefect work-pool create --type process {pool}"
        ) from None
