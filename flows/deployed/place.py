"""Where a deployed run works: its root, its cluster, one run a dataset at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.cluster import executors
from flows.deployed.forms import Place
from flows.progress import ArtifactProgress
from tasks.errors import UsageError
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.lease import at_work
from tasks.store.storage import open_storage

ROOT = "HARDMINE_ROOT"
CLUSTER = "HARDMINE_CLUSTER"
_LEASE = 60.0  # seconds after which a dead run's place in the queue is free


def root_of(place: Place) -> str:
    """The run's root: absolute where it is a folder.

    Raises:
        UsageError: the form names none, and HARDMINE_ROOT is there without a value.
    """
    root = place.root.strip() or environment_root() or "./mining"
    return root if "://" in root else str(Path(root).expanduser().resolve())


def environment_root() -> str:
    """What HARDMINE_ROOT says; empty where it is not set.

    Raises:
        UsageError: it is set to nothing, as where a deployment's own variable was not there; ./mining of a container would be gone with it.
    """
    root = os.environ.get(ROOT)
    if root is not None and not root.strip():
        raise UsageError(
            f"{ROOT} is set, but empty, where the run works",
            "set it to a folder or s3://bucket/prefix, unset it for ./mining, or fill in root",
        )
    return (root or "").strip()


def cluster_of(place: Place) -> str:
    """Where the run computes: local, or a Dask scheduler's address."""
    return place.cluster or os.environ.get(CLUSTER, "") or "local"


def place_of(place: Place) -> dict[str, Any]:
    """As in run.yaml."""
    return {
        "root": root_of(place),
        "cluster": cluster_of(place),
        "workers": place.workers or None,
        "worker_patience": place.worker_patience,
    }


def limit_name(dataset: str) -> str:
    """The global concurrency limit that runs of a dataset share."""
    return f"hardmine-{dataset}"


def ensure_limit(dataset: str, limit: int = 1) -> None:
    """Make the dataset's limit, unless it is there: whoever raised it keeps it."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(limit_name(dataset))
        except ObjectNotFound:
            try:
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=limit_name(dataset), limit=limit))
            except ObjectAlreadyExists:
                return


@contextmanager
def turn(dataset: str) -> Iterator[None]:
    """Wait until no other run works on the dataset; later runs wait in turn."""
    ensure_limit(dataset)
    get_run_logger().info("waiting for the turn of dataset %s (limit %s)", dataset, limit_name(dataset))
    with concurrency(limit_name(dataset), occupy=1, lease_duration=_LEASE):
        yield


@contextmanager
def stages(place: Place) -> Iterator[Context]:
    """Storage and progress artifacts for a few stages: they run in this process, or on the cluster that is named."""
    address, storage = cluster_of(place), open_storage(root_of(place))
    with ArtifactProgress() as progress, executors(address, None, place.worker_patience, progress) as executor, at_work(storage, "stages"):
        yield Context(storage, (lambda: InlineExecutor(2)) if address == "local" else executor, progress)


def rename(name: str) -> None:
    """Call the present run so, as in ``mine-cranfield-r2``."""
    if flow_run.id:
        with get_client(sync_client=True) as client:
            client.update_flow_run(flow_run.id, name=name)
