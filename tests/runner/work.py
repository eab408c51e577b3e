"""Stage functions for the runner's tests; importable by workers."""

import os
import signal
import time
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks.runner.stage import Stage

DOUBLE = Stage(name="double", version=1, function="tests.runner.work:double", unit="numbers")
WHERE = Stage(name="where", version=1, function="tests.runner.work:where", unit="numbers")
WHERE_MODEL = Stage(name="where-model", version=1, function="tests.runner.work:where", unit="numbers", model=True)
LOAD = Stage(name="load", version=1, function="tests.runner.work:load", unit="models", model=True)
HUNGRY = Stage(name="hungry", version=1, function="tests.runner.work:hungry", unit="numbers", splits=True)
REFUSED = Stage(name="refused", version=1, function="tests.runner.work:refused", unit="numbers", splits=True)
WHOLE = Stage(name="whole", version=1, function="tests.runner.work:refused", unit="numbers")
SLOW = Stage(name="slow", version=1, function="tests.runner.work:slow", unit="numbers")
CRASH = Stage(name="crash", version=1, function="tests.runner.work:crash", unit="numbers")


def double(work, out):
    for number in work.job.settings["numbers"]:
        work.report(1)
        out.count(model_calls=1)
        log = work.job.options.get("log")
        if log:
            with Path(log).open("a") as handle:
                handle.write(f"{number}\n")
    out.table("doubled.parquet", pa.table({"n": [2 * number for number in work.job.settings["numbers"]]}))


def crash(work, out):
    """Leave a file named by the partition at each execution; kill the worker in the first so many of them."""
    markers = Path(work.job.options["markers"])
    (markers / f"{work.job.index}-{uuid.uuid4().hex}").touch()
    if len(list(markers.glob(f"{work.job.index}-*"))) <= work.job.options["deaths"]:
        os.kill(os.getpid(), signal.SIGKILL)
    double(work, out)


def hungry(work, out):
    """Hold 1.6 GB, or its share of it; numbers are doubled piece by piece."""
    held = np.ones((1600 << 17) // work.pieces)  # float64
    work.report(int(held[-1]))
    time.sleep(1.0)  # so that a nanny looks meanwhile
    double(work, out)


def refused(work, out):
    """Have no memory for less than 16 pieces."""
    if work.pieces < 16:
        raise MemoryError
    double(work, out)


def slow(work, out):
    """Leave a file named by the partition and the process; then take a while."""
    (Path(work.job.options["markers"]) / f"{work.job.index}-{os.getpid()}").touch()
    time.sleep(0.2)
    double(work, out)


def where(work, out):
    """Say which process this is, slowly enough that each worker gets some."""
    time.sleep(0.2)
    out.table("where.parquet", pa.table({"process": [os.getpid()]}))


def load(work, out):
    """Load a model twice, as documents' and as queries' encoder; say which process, and how many are loaded in it."""
    from tasks.models import runtime
    from tasks.models.embedder import Embedder
    from tasks.models.fingerprint import document_spec, query_spec
    from tasks.models.settings import ModelSettings

    settings = ModelSettings(path="packaged", max_length=32, query_prompt="query: ")
    for spec in (document_spec(settings), query_spec(settings)):
        Embedder(spec).encode([work.job.index])
    (model,) = runtime._LOADED.values()
    out.table("where.parquet", pa.table({"process": [os.getpid()], "model": [id(model)]}))
