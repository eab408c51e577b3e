from tasks.runner.dask_executor import DaskExecutor
from tasks.runner.runner import Context, run_stage
from tasks.runner.stage import Job
from tasks.store.storage import open_storage
from tests.runner.test_runner import Recorder, jobs
from tests.runner.work import CRASH, DOUBLE


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
