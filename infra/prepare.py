"""What a fresh server and a fresh bucket need before runs: the bucket, a process work pool, all deployments. Again and again without harm.

Reads HARDMINE_ROOT, HARDMINE_POOL, and what Prefect and s3fs read: PREFECT_API_URL, PREFECT_API_AUTH_STRING, AWS_*.
"""

from __future__ import annotations

import os
import sys
import time

_PATIENCE = 120.0


def make_bucket(root: str) -> None:
    """The bucket of an S3 root, unless it is there; a server that is not ready yet is waited for.

    Args:
        root: ``s3://bucket/prefix``; a folder needs nothing.

    Raises:
        OSError: the S3 server does not answer, or refuses.
    """
    if not root.startswith("s3://"):
        return
    import s3fs

    bucket = root.removeprefix("s3://").split("/", 1)[0]
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    storage = s3fs.S3FileSystem(client_kwargs={"endpoint_url": endpoint} if endpoint else {}, use_listings_cache=False)
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            if not storage.exists(bucket):
                storage.mkdir(bucket)
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def make_pool(name: str) -> None:
    """A work pool whose runs are processes of its worker, unless there is a pool of that name."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        except ObjectAlreadyExists:
            return


def main() -> None:
    """Prepare all three."""
    from flows.deployed.deploying import deploy
    from flows.deployed.place import environment_root

    root, pool = environment_root(), os.environ.get("HARDMINE_POOL") or "hardmine"
    make_bucket(root)
    make_pool(pool)
    made = deploy(root, pool)
    sys.stdout.write(f"root {root or 'of each run'}, work pool {pool}, {len(made)} deployments\n")


if __name__ == "__main__":
    main()
