import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.errors import StorageError, UsageError
from tasks.runner.dask_executor import DaskExecutor
from tasks.runner.release import RELEASE, source_digest
from tasks.runner.runner import Context, run_stage
from tasks.runner.stage import Job
from tasks.store.storage import open_storage
from tasks.store.tables import read_parts
from tests.runner.test_runner import Recorder, jobs
from tests.runner.work import CRASH, DOUBLE, LOAD, WHERE, WHERE_MODEL


def test_same_manifest_for_one_and_two_workers_and_progress_arrives(tmp_path):
    checksums = []
    for workers in (1, 2):
        executor = DaskExecutor("local", workers)
        recorder = Recorder()
        try:
            context = Context(open_storage(str(tmp_path / f"root{workers}")), lambda executor=executor: executor, recorder)
            checksums.append(run_stage(context, DOUBLE, jobs(groups=((1, 2), (3,), (4, 5, 6)))).checksum)
        finally:
            executor.close()
        assert sum(event[1] for event in recorder.events if event[0] == "advance") == 6
    assert checksums[0] == checksums[1]


def test_a_worker_that_dies_costs_its_partition_only(tmp_path):
    executor = DaskExecutor("local", 1)
    try:
        context = Context(open_storage(str(tmp_path / "root")), lambda: executor, Recorder())
        work = [Job(index=f"p{i}", settings={"numbers": [i]}, options={"marker": str(tmp_path / "marker")}) for i in range(3)]
        manifest = run_stage(context, CRASH, work)
    finally:
        executor.close()
    assert (tmp_path / "marker").exists()
    assert [part.index for part in manifest.parts] == ["p0", "p1", "p2"]


def test_an_existing_scheduler_by_address(tmp_path):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        executor = DaskExecutor(cluster.scheduler_address)
        context = Context(open_storage(str(tmp_path / "root")), lambda: executor, Recorder())
        assert run_stage(context, DOUBLE, jobs()).rows == 3
        executor.close()


ROOT = Path(__file__).parents[2]


@contextmanager
def cluster(*workers):
    """A scheduler, and one worker process for each (name, its PYTHONPATH, further options): the scheduler's address."""
    from distributed import Client, LocalCluster

    dask = str(Path(sys.executable).parent / "dask")
    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as scheduler:
        address = scheduler.scheduler_address
        started = [
            subprocess.Popen(
                [dask, "worker", address, "--name", name, "--nworkers", "1", "--nthreads", "1", "--no-dashboard", *options],
                cwd=path,  # Dask puts it before all else
                env={**os.environ, "PYTHONPATH": str(path)},
                stderr=subprocess.DEVNULL,
            )
            for name, path, *options in workers
        ]
        try:
            with Client(address) as client:
                client.wait_for_workers(len(workers), timeout=120)
            yield address
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(30)


def processes(executor, root, stage, count):
    """Of each partition, the process that computed it."""
    context = Context(open_storage(str(root)), lambda: executor, Recorder())
    work = [Job(index=f"p{i}", settings={"number": i}) for i in range(count)]
    return read_parts(context.storage, run_stage(context, stage, work).parts, "where.parquet").to_pydict()


def test_stages_with_a_model_go_to_the_worker_that_declares_a_gpu(tmp_path):
    with cluster(("with", ROOT, "--resources", "GPU=1"), ("without", ROOT)) as address:
        executor = DaskExecutor(address)
        workers = executor._client.scheduler_info()["workers"]
        by_name = {workers[place]["name"]: number for place, number in executor._client.run(os.getpid).items()}
        try:
            assert set(processes(executor, tmp_path / "a", WHERE_MODEL, 6)["process"]) == {by_name["with"]}
            assert set(processes(executor, tmp_path / "b", WHERE, 6)["process"]) == set(by_name.values())
        finally:
            executor.close()


def test_a_worker_with_other_code_or_without_the_project_is_refused(tmp_path):
    shutil.copytree(ROOT / "tasks", tmp_path / "other" / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "other/tasks/folds.py").open("a") as file:
        file.write("# changed\n")
    changed = source_digest(tmp_path / "other/tasks")
    assert changed != source_digest(ROOT / "tasks")
    (tmp_path / "none/tasks").mkdir(parents=True)
    (tmp_path / "none/tasks/__init__.py").write_text("raise ModuleNotFoundError('tasks')")  # hides the installed one
    for name, said in (("other", rf"has hardmine .*source {changed}, and this run has hardmine {RELEASE}"), ("none", "not installed")):
        with cluster((name, tmp_path / name)) as address, pytest.raises(UsageError, match=said) as refused:
            DaskExecutor(address)
        assert RELEASE in refused.value.message
        assert "start them anew" in refused.value.mend


@pytest.mark.slow  # it is patient
def test_nobody_at_the_address_is_said():
    with pytest.raises(StorageError, match="no Dask scheduler answers"):
        DaskExecutor("tcp://127.0.0.1:9")


@pytest.mark.slow
def test_a_model_is_loaded_once_a_worker(tmp_path):
    executor = DaskExecutor("local", 1)
    try:
        found = processes(executor, tmp_path, LOAD, 3)
    finally:
        executor.close()
    assert len(set(found["process"])) == 1
    assert len(set(found["model"])) == 1  # one object for both sides and all partitions
