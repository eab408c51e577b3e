"""``hardmine doctor``: what is installed, what the machine offers, whether the storage root works."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.errors import HardmineError
from tasks.models.hardware import resolve_device, resolve_dtype
from tasks.models.location import packaged
from tasks.runner.cores import cores
from tasks.store.lease import swaps
from tasks.store.storage import open_storage

_PACKAGES = (
    "prefect",
    "dask",
    "distributed",
    "duckdb",
    "faiss-cpu",
    "bm25s",
    "sentence-transformers",
    "transformers",
    "torch",
    "pyarrow",
    "pandas",
    "s3fs",
)


class Finding(BaseModel):
    """One thing that was looked at."""

    what: str
    state: Literal["ok", "note", "failed"]
    detail: str


def examine(root: str) -> list[Finding]:
    """Look at everything; a failure of one check does not stop the others."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("python", lambda: f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("cpu", _cpu),
        ("accelerator", _accelerator),
        ("packaged model", lambda: f"all-MiniLM-L6-v2, {packaged().name} folder checked"),
        ("storage root", lambda: _root(root)),
        ("prefect", lambda: os.environ.get("PREFECT_API_URL") or "no PREFECT_API_URL: each run starts a temporary server"),
    ]
    return [*_packages(), *(_checked(what, check) for what, check in checks)]


def print_findings(console: Console, findings: list[Finding]) -> None:
    """As a table."""
    colours = {"ok": "green", "note": "yellow", "failed": "red"}
    table = Table("what", "state", "detail")
    for finding in findings:
        table.add_row(finding.what, f"[{colours[finding.state]}]{finding.state}[/]", escape(finding.detail))
    console.print(table)


def _checked(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what=what, state="ok", detail=check())
    except HardmineError as error:
        return Finding(what=what, state="failed", detail=str(error))


def _packages() -> Iterator[Finding]:
    for name in _PACKAGES:
        try:
            yield Finding(what=name, state="ok", detail=importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(what=name, state="failed", detail="not installed: make install")


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split("flags", 1)[-1].split("\n", 1)[0].split()) if cpuinfo.exists() else set()
    wanted = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8") if flag in flags]
    return f"{cores()} cores; {', '.join(wanted) or 'no vector extensions found'}; models run in {resolve_dtype('auto', 'cpu')}"


def _accelerator() -> str:
    device = resolve_device("auto")
    return "none: models run on the CPU" if device == "cpu" else device


def _root(root: str) -> str:
    storage = open_storage(root)
    name = f"leases/doctor-{uuid.uuid4().hex}"
    storage.put_bytes(name, b"hello")
    assert storage.read_bytes(name) == b"hello"
    free = "" if "://" in root else f", {shutil.disk_usage(storage.root).free / 1e9:,.0f} GB free"
    storage.remove(name)
    swap = (
        "conditional puts honoured" if swaps(storage) else "conditional puts ignored: single-writer mode, a second run at once is refused"
    )
    return f"{storage.root}: written and read back, {swap}{free}"
