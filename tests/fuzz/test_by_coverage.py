"""Every reader under a fuzzer that follows the branches of its code; where Atheris is installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNS = 40 * int(os.environ.get("HARDMINE_FUZZ", "25"))
READERS = (
    "jsonl", "csv", "tsv", "parquet", "arrow", "run", "table", "table-csv", "npy", "qrels", "second", "run.yaml", "recipe", "review",
    "review-json",
)  # fmt: skip


@pytest.mark.fault("files that follow the branches of each reader", "Atheris, coverage-guided, from a good file of each of 15 readers")
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
@pytest.mark.parametrize("reader", READERS)
def test_readers_by_coverage(tmp_path, record_property, reader):
    record_property("tries", RUNS)
    command = [sys.executable, "-m", "tests.fuzz.by_coverage", reader, "--runs", str(RUNS)]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=550
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"{reader}: {RUNS} files" in done.stdout
