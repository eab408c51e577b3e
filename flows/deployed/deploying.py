"""Put everything on a server: deployments, schedules, automations, limits. Again and again without doubles."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound

from flows.deployed.automations import apply_automations, automations
from flows.deployed.catalogue import DEPLOYABLES
from flows.deployed.place import ensure_limit
from tasks.audit.records import dataset_names
from tasks.errors import UsageError
from tasks.store.storage import open_storage


def deploy(root: str = "", pool: str | None = None) -> dict[str, UUID]:
    """Put all deployments on the server that PREFECT_API_URL names, and what belongs to them.

    A schedule or automation that a person switched on or off stays so.

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
    """All deployments; schedules that are on the server keep their times and stay on or off."""
    with get_client(sync_client=True) as client:
        return [_kept(client, one.deployment(root, pool)) for one in DEPLOYABLES]


def _apply(deployment: RunnerDeployment) -> UUID:
    found = deployment.apply()
    assert isinstance(found, UUID)
    return found


def _kept(client: SyncPrefectClient, deployment: RunnerDeployment) -> RunnerDeployment:
    try:
        present = {one.slug: one for one in client.read_deployment_by_name(f"{deployment.flow_name}/{deployment.name}").schedules}
    except ObjectNotFound:
        return deployment
    for schedule in deployment.schedules or []:
        if schedule.slug in present:
            schedule.active, schedule.schedule = present[schedule.slug].active, present[schedule.slug].schedule
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
