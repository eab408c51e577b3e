"""What orchestration costs: Prefect, Dask, manifests, artifacts, audit, beside the stages' own work.

    python -m tests.bench.orchestration --folder /tmp/orchestration

Mines a small collection (144 documents, 48 queries), then the same round again in each way that there is, and starts and ends a local
Dask cluster. Prints a Markdown table. CPU seconds are those of the command and all processes that it started, of a deployed run those of
``hardmine serve``, its server and the run; on a machine that does other things too they say more than wall time.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from flows.server import free_port, server
from tests.deploy.service import ROOT, Service
from tests.e2e.conftest import round_settings, write_collection

_ROUND = 600.0  # seconds of the round that the share is of
_CLUSTER = "from tasks.runner.dask_executor import DaskExecutor; DaskExecutor('local', 1).close()"


@dataclass(frozen=True)
class Cost:
    """One run.

    Args:
        name: what was run.
        wall: seconds.
        cpu: seconds of all its processes; none where another line has them.
        stages: seconds of the stages' own work.
    """

    name: str
    wall: float
    cpu: float | None
    stages: float


def command(name: str, folder: Path, arguments: list[str], **variables: str) -> Cost:
    """A command in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *arguments], cwd=folder, env={**inherited, **variables}, stdout=out, stderr=err
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        out.seek(0)
        err.seek(0)
        said = out.read().decode()
        if status:
            raise SystemExit(f"{name}: {err.read().decode()[-2000:]}")
    found = json.loads(said.splitlines()[-1]) if "--json" in arguments else {}
    return Cost(name, wall, usage.ru_utime + usage.ru_stime, sum(stage["seconds"] for stage in found.get("stages", ())))


def family_cpu(number: int) -> float:
    """CPU seconds of a process, of those that it started, and of those of them that have ended."""
    parent = psutil.Process(number)
    own = parent.cpu_times()
    alive = [one.cpu_times() for one in parent.children(recursive=True)]
    ended = sum(each.children_user + each.children_system for each in (own, *alive))
    return ended + sum(each.user + each.system for each in (own, *alive))


def python(name: str, folder: Path, statement: str) -> Cost:
    """A statement in a process of its own."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", statement], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)})
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(name)
    return Cost(name, time.monotonic() - began, usage.ru_utime + usage.ru_stime, 0.0)


def deployed(folder: Path, form: dict[str, Any]) -> Iterator[Cost]:
    """The round by ``hardmine serve``: first as it comes, then cached."""
    (folder / "service").mkdir(parents=True)
    service = Service(folder / "service")
    try:
        service.wait()
        for name in ("deployed, fresh", "deployed, cached", "deployed, cached again"):
            before = family_cpu(service.process.pid)
            run = service.ended(service.start("mine", **form))
            if run["state"]["type"] != "COMPLETED":
                raise SystemExit(run["state"]["message"])
            asked, start, end = (datetime.datetime.fromisoformat(run[at]) for at in ("created", "start_time", "end_time"))
            manifests = (json.loads(path.read_text()) for path in (service.root / "manifests").glob("*/*.json"))
            stages = sum(one.get("seconds", 0.0) for one in manifests) if name.endswith("fresh") else 0.0
            time.sleep(2)  # the run's process ends after its last state
            cpu = family_cpu(service.process.pid) - before
            yield Cost(f"{name}: the flow", (end - start).total_seconds(), None, stages)
            yield Cost(f"{name}: from the button to its end", (end - asked).total_seconds(), cpu, stages)
    finally:
        service.end()


def costs(folder: Path) -> Iterator[Cost]:
    """All of them, as they come."""
    collection = write_collection(folder / "beir")
    run = folder / "run.yaml"
    run.write_text(yaml.safe_dump(round_settings(collection)))
    own = {"PREFECT_HOME": str(folder / "prefect"), "HF_HUB_OFFLINE": "1"}
    yield command("hardmine --help", folder, ["--help"], **own)
    yield command("mine, fresh, its own server", folder, ["mine", str(run), "--json"], **own)
    yield command("mine, cached", folder, ["mine", str(run), "--json"], **own)
    yield python("import of Dask", folder, "import distributed")
    yield python("a local Dask cluster", folder, f"if __name__ == '__main__': {_CLUSTER}")
    os.environ |= own
    with server("127.0.0.1", free_port(), pages=False) as address:
        yield command("mine, cached, as a Prefect flow on a server", folder, ["mine", str(run), "--json"], PREFECT_API_URL=address, **own)
        fresh = ["mine", str(run), "--json", "--set", "root=again"]
        yield command("mine, fresh, as a Prefect flow on a server", folder, fresh, PREFECT_API_URL=address, **own)
    further = "{model: {dtype: float32}, retrieve: {dense: {top_k: 100}, bm25: {top_k: 20}}}"
    source, choice = {"name": "small", "path": str(collection)}, {"recipe": "nv-retriever", "num_negatives": 3}
    form = {"dataset": source, "models": {"max_length": 64}, "negatives": choice, "further": further}  # with its HTML report
    yield from deployed(folder, form)


def line(cost: Cost) -> str:
    """Of the table."""
    besides = cost.wall - cost.stages
    cpu = "" if cost.cpu is None else f"{cost.cpu:.1f}"
    return f"| {cost.name} | {cost.wall:.1f} | {cpu} | {cost.stages:.1f} | {besides:.1f} | {100 * besides / (_ROUND + besides):.1f} % |"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="new or empty, for all that is made")
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    print("| run | wall s | CPU s | stages s | besides s | of ten minutes |\n|---|---|---|---|---|---|")  # noqa: T201
    for cost in costs(folder):
        print(line(cost), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
