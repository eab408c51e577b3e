import multiprocessing

import pytest

from tasks.audit.build import build_audit, latest_audit
from tasks.sql import query_snapshot
from tests.audit.at_once import BROKEN, one_round, read, write
from tests.audit.world import new_world


@pytest.mark.fault(
    "writers and readers of the audit at once",
    "two processes that publish and three that query, for 4 seconds; in the long form also for 60",
)
@pytest.mark.parametrize("seconds", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_two_writers_of_rounds_and_three_readers_at_once(tmp_path, seconds):
    world = new_world(tmp_path)
    one_round(world, "first", 4, "shared")
    build_audit(world.storage)
    processes = multiprocessing.get_context("spawn")
    results = processes.Queue()
    targets = [(write, name) for name in ("left", "right")] + [(read, sandbox) for sandbox in (False, False, True)]
    running = [processes.Process(target=target, args=(str(tmp_path), what, seconds, results)) for target, what in targets]
    for process in running:
        process.start()
    told = [results.get(timeout=seconds + 60) for _ in running]
    for process in running:
        process.join(30)
    assert [process.exitcode for process in running] == [0] * 5
    assert results.empty()
    wrote = [number for kind, number, *_ in told if kind == "wrote"]
    assert sum(wrote) >= 3
    assert min(number for kind, number, *_ in told if kind == "read") >= 2
    assert [wrong for kind, *_, wrong in told if kind == "read"] == [[], [], []]
    path = latest_audit(world.storage)
    assert query_snapshot(path, "SELECT count(*) AS n FROM rounds").to_pylist() == [{"n": 1 + sum(wrote)}]
    assert query_snapshot(path, BROKEN).num_rows == 0


def test_the_checks_see_a_half_written_round(tmp_path):
    world = new_world(tmp_path)
    for key, pairs in [("first", 4), ("second", 2)]:
        one_round(world, key, pairs, "shared")
    world.storage.local_copy("data/scored/scored-second/scored.parquet", 0, "").unlink()
    build_audit(world.storage)
    broken = {tuple(row.values()) for row in query_snapshot(latest_audit(world.storage), BROKEN).to_pylist()}
    assert broken == {(what, "shared", 2) for what in ("candidates", "rows", "decisions", "absent")}  # sums of no counts are NULL
