"""Stage functions for the runner's tests; importable by workers."""

import os
import signal
from pathlib import Path

import pyarrow as pa

from tasks.runner.stage import Stage

DOUBLE = Stage(name="double", version=1, function="tests.runner.work:double", unit="numbers")
CRASH = Stage(name="crash", version=1, function="tests.runner.work:crash_once", unit="numbers")


def double(work, out):
    for number in work.job.settings["numbers"]:
        work.report(1)
        out.count(model_calls=1)
        log = work.job.options.get("log")
        if log:
            with Path(log).open("a") as handle:
                handle.write(f"{number}\n")
    out.table("doubled.parquet", pa.table({"n": [2 * number for number in work.job.settings["numbers"]]}))


def crash_once(work, out):
    """Kill the worker the first time, succeed the second."""
    marker = Path(work.job.options["marker"])
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    double(work, out)
