import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tasks.errors import StorageError, UsageError
from tasks.runner.cores import check_workers_fit
from tasks.runner.dask_executor import DaskExecutor
from tasks.runner.release import RELEASE, source_digest
from tasks.runner.runner import Context, run_stage
from tasks.runner.stage import Job
from tasks.store.manifest import read_part
from tasks.store.storage import open_storage
from tasks.store.tables import read_parts
from tests.conftest import free_port
from tests.runner.test_runner import Recorder, jobs
from tests.runner.work import CRASH, DOUBLE, HUNGRY, LOAD, SLOW, WHERE, WHERE_MODEL


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


def crashing(folder, *deaths):
    """Partitions p0, p1, … whose first so many executions each kill their worker; each execution leaves a file in the folder."""
    folder.mkdir()
    options = [{"markers": str(folder), "deaths": number} for number in deaths]
    return [Job(index=f"p{i}", settings={"numbers": [i]}, options=each) for i, each in enumerate(options)]


@pytest.mark.fault("a worker dies", "SIGKILL of a worker by itself while it computes")
def test_a_worker_that_dies_costs_its_partition_only(tmp_path):
    markers = tmp_path / "markers"
    executor = DaskExecutor("local", 1)
    try:
        context = Context(open_storage(str(tmp_path / "root")), lambda: executor, Recorder())
        manifest = run_stage(context, CRASH, crashing(markers, 0, 0, 1, 0))  # p2 kills the worker on which p0 and p1 have ended
    finally:
        executor.close()
    assert [part.index for part in manifest.parts] == ["p0", "p1", "p2", "p3"]
    executions = Counter(file.name.partition("-")[0] for file in markers.iterdir())
    assert executions == {"p0": 1, "p1": 1, "p2": 2, "p3": 1}


@pytest.mark.fault("a partition that kills every worker", "SIGKILL of each worker by the same partition")
def test_a_partition_that_kills_its_workers_is_named_with_a_mend(tmp_path):
    import dask

    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        executor = DaskExecutor("local", 1)
        try:
            context = Context(open_storage(str(tmp_path / "root")), lambda: executor, Recorder())
            with pytest.raises(StorageError, match="stage crash, partition p0: 1 workers died") as died:
                run_stage(context, CRASH, crashing(tmp_path / "markers", 9))
        finally:
            executor.close()
    assert "fewer workers" in died.value.mend


@pytest.mark.fault("a worker runs out of memory", "a partition takes 1.6 GB of the worker's 1 GB: its nanny kills it; it is split")
def test_a_partition_for_which_memory_runs_out_is_tried_again_in_pieces(tmp_path):
    from distributed import LocalCluster

    said = []
    with (
        dask_settings({"distributed.scheduler.allowed-failures": 0, "distributed.worker.memory.pause": False}),
        LocalCluster(n_workers=1, threads_per_worker=1, memory_limit="1GiB", dashboard_address=None) as cluster,
    ):
        executor = DaskExecutor(cluster.scheduler_address, say=said.append)
        try:
            context = Context(open_storage(str(tmp_path / "root")), lambda: executor, Recorder())
            manifest = run_stage(context, HUNGRY, [Job(index=f"p{i}", settings={"numbers": [i]}) for i in range(2)])
        finally:
            executor.close()
    assert [part.meta for part in manifest.parts] == [{"pieces": 4}, {"pieces": 4}]
    assert sorted(text for text in said if "pieces" in text) == [
        f"stage hungry, partition p{i}: 1 workers died on it; once more in 4 pieces" for i in range(2)
    ]


def dask_settings(settings):
    import dask

    return dask.config.set(settings)


@pytest.mark.fault("a worker is paused", "SIGSTOP while it computes; after its time to live another has its work; SIGCONT")
def test_a_worker_that_is_stopped_costs_time_only(tmp_path):
    markers, storage = tmp_path / "markers", open_storage(str(tmp_path / "root"))
    markers.mkdir()
    work = [Job(index=f"p{i}", settings={"numbers": [i]}, options={"markers": str(markers)}) for i in range(8)]
    with dask_settings({"distributed.scheduler.worker-ttl": "3s"}), cluster(("one", ROOT, "--no-nanny")) as address, ExitStack() as more:
        executor = DaskExecutor(address, patience=60)
        (number,) = executor._client.run(os.getpid).values()
        try:
            parts = executor.map(storage.root, SLOW, work, lambda units: None)
            done = [next(parts)]
            os.kill(number, signal.SIGSTOP)
            more.enter_context(worker(address, "two", ROOT, "--no-nanny"))
            done += list(parts)
        finally:
            os.kill(number, signal.SIGCONT)
            executor.close()
    assert sorted(part.index for part in done) == [job.index for job in work]
    assert {file.name.partition("-")[2] for file in markers.iterdir()} > {str(number)}, "another one did the rest"
    assert sorted(read_parts(storage, done, "doubled.parquet")["n"].to_pylist()) == list(range(0, 16, 2)), "the first changed nothing"


def test_runs_that_share_a_scheduler_count_their_own_progress(tmp_path):
    from distributed import LocalCluster

    counted = {"first": 0, "second": 0}

    def part_of(name, executor, groups):
        def report(units):
            counted[name] += units

        return executor.map(str(tmp_path / name), DOUBLE, jobs(groups=groups), report)

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        one, other = DaskExecutor(cluster.scheduler_address), DaskExecutor(cluster.scheduler_address)
        try:
            first = part_of("first", one, ((1, 2), (3,)))
            next(first)  # it listens from here to its end
            assert len(list(part_of("second", other, ((1, 2, 3, 4), (5,), (6,))))) == 3
            assert len(list(first)) == 1
        finally:
            one.close()
            other.close()
    assert counted == {"first": 3, "second": 6}


def test_a_scheduler_without_workers_is_said(caplog):
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        with pytest.raises(StorageError, match="has no worker, after 1 s") as said:
            DaskExecutor(cluster.scheduler_address, patience=1)
        assert "dask worker tcp://" in said.value.mend
        assert "has no workers: waiting" in caplog.text
        assert not cluster.scheduler.clients.keys() - {"fire-and-forget"}  # the run's connection is closed


def test_more_processes_than_there_is_memory_for_are_refused():
    check_workers_fit(6, 6 << 30)
    check_workers_fit(1, 1 << 20)
    with pytest.raises(UsageError, match="workers: 8 would have 800 MiB of memory each") as refused:  # 6400 MiB / 8
        check_workers_fit(8, 6400 << 20)
    assert refused.value.mend == "set workers to 6 or fewer"
    with pytest.raises(UsageError, match="workers: 1000000 would have"):
        DaskExecutor("local", 1_000_000)


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

    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as scheduler, ExitStack() as started:
        address = scheduler.scheduler_address
        for name, path, *options in workers:
            started.enter_context(worker(address, name, path, *options))
        with Client(address) as client:
            client.wait_for_workers(len(workers), timeout=120)
        yield address


def worker(address, name, path, *options):
    """A worker process; ended in the end."""
    once = ("worker", address, "--name", name, "--nworkers", "1", "--nthreads", "1", "--no-dashboard", *options)
    return dask(path, *once)


@contextmanager
def dask(path, *arguments):
    """A command of Dask's, in a process that is ended in the end."""
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "dask"), *arguments],
        cwd=path,  # Dask puts it before all else
        env={**os.environ, "PYTHONPATH": str(path)},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
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


@pytest.mark.fault("another version on a worker", "a worker with another source tree, and one without the project")
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


@pytest.mark.fault("all workers are gone", "a partition kills the only worker, and no nanny starts another")
def test_a_run_whose_workers_have_all_gone_says_so_ends_and_goes_on_when_there_are_some(tmp_path):
    """p1 kills its worker twice; no nanny starts another."""
    storage, work = open_storage(str(tmp_path / "root")), crashing(tmp_path / "markers", 0, 2)
    said = []

    def mined(executor):
        try:
            return run_stage(Context(storage, lambda: executor, Recorder()), CRASH, work)
        finally:
            executor.close()

    with cluster(("first", ROOT, "--no-nanny")) as address, ExitStack() as more:
        with pytest.raises(StorageError, match="for 1 s there has not been a worker for stage crash") as ended:
            mined(DaskExecutor(address, patience=1, say=said.append))
        assert f"dask worker {address}" in ended.value.mend
        assert "worker_patience" in ended.value.mend
        assert said == [f"cluster {address}: there is no longer a worker for stage crash; waiting 1 s for one"]
        assert read_part(storage, "crash", work[0].key(CRASH)) is not None
        said.clear()

        def help_out(text):
            said.append(text)
            if "waiting" in text:
                more.enter_context(worker(address, f"another-{len(said)}", ROOT, "--no-nanny"))

        manifest = mined(DaskExecutor(address, patience=120, say=help_out))
    assert [part.index for part in manifest.parts] == ["p0", "p1"]
    assert said == [
        f"cluster {address} has no workers: waiting 120 s for the first",
        f"cluster {address}: there is no longer a worker for stage crash; waiting 120 s for one",
        f"cluster {address}: there is a worker for stage crash again",
    ]
    executions = Counter(file.name.partition("-")[0] for file in (tmp_path / "markers").iterdir())
    assert executions == {"p0": 1, "p1": 3}


@pytest.mark.fault("the scheduler dies", "SIGKILL during a run")
@pytest.mark.slow
def test_a_scheduler_that_ends_during_a_run_is_said(tmp_path):
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    with (
        dask(ROOT, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard") as scheduler,
        worker(address, "one", ROOT, "--no-nanny", "--death-timeout", "5"),
    ):
        executor = DaskExecutor(address, patience=60)
        work = [Job(index=f"p{i}", settings={"number": i}) for i in range(100)]
        storage = open_storage(str(tmp_path))
        try:
            parts = executor.map(storage.root, WHERE, work, lambda units: None)
            first = next(parts)
            scheduler.kill()
            with pytest.raises(StorageError, match=f"stage where: the Dask scheduler of cluster {address} is gone"):
                list(parts)
            with pytest.raises(StorageError, match="is gone"):  # so is it for what comes after
                list(executor.map(storage.root, WHERE, work, lambda units: None))
        finally:
            executor.close()
    assert read_part(storage, "where", first.key) == first


@pytest.mark.fault("no scheduler at the address", "a port that nobody listens at")
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
