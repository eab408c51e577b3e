import pytest

from tasks.errors import StorageError
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context, find_stage, run_stage
from tasks.runner.stage import Job, Stage
from tasks.store.storage import open_storage
from tasks.store.tables import read_table
from tests.runner.work import DOUBLE, REFUSED, WHOLE


class Recorder:
    def __init__(self):
        self.events = []

    def start(self, stage, unit, total, done):
        self.events.append(("start", stage, total, done))

    def advance(self, stage, units):
        self.events.append(("advance", units))

    def finish(self, manifest, cached):
        self.events.append(("finish", manifest.stage, cached))


@pytest.fixture
def context(tmp_path):
    return Context(open_storage(str(tmp_path / "root")), lambda: InlineExecutor(2), Recorder())


def jobs(log=None, groups=((1, 2), (3,))):
    options = {"log": str(log)} if log else {}
    return [Job(index=f"p{i}", settings={"numbers": list(group)}, options=options, units=len(group)) for i, group in enumerate(groups)]


def test_runs_commits_and_counts(context):
    manifest = run_stage(context, DOUBLE, jobs())
    assert [part.index for part in manifest.parts] == ["p0", "p1"]
    assert manifest.counters == {"model_calls": 3}
    assert manifest.rows == 3
    assert read_table(context.storage, manifest.parts[0].file("doubled.parquet"))["n"].to_pylist() == [2, 4]
    events = context.progress.events
    assert events[0] == ("start", "double", 3, 0)
    assert sum(event[1] for event in events if event[0] == "advance") == 3
    assert events[-1] == ("finish", "double", False)


def test_second_run_computes_nothing(context, tmp_path):
    first = run_stage(context, DOUBLE, jobs(tmp_path / "log"))
    second = run_stage(context, DOUBLE, jobs(tmp_path / "log"))
    assert first == second
    assert (tmp_path / "log").read_text().split() == ["1", "2", "3"] or sorted((tmp_path / "log").read_text().split()) == ["1", "2", "3"]
    assert context.progress.events[-1] == ("finish", "double", True)


def test_only_lost_partitions_are_computed_again(context, tmp_path):
    first = run_stage(context, DOUBLE, jobs())
    lost = first.parts[1].files[0]
    (tmp_path / "root" / lost.path).unlink()
    assert find_stage(context.storage, DOUBLE, jobs()) is None
    again = run_stage(context, DOUBLE, jobs(tmp_path / "log"))
    assert (tmp_path / "log").read_text().split() == ["3"]
    assert [part.checksum for part in again.parts] == [part.checksum for part in first.parts]
    assert ("start", "double", 3, 2) in context.progress.events


def test_a_file_of_another_size_counts_as_lost(context, tmp_path):
    first = run_stage(context, DOUBLE, jobs())
    (tmp_path / "root" / first.parts[0].files[0].path).write_bytes(b"cut")
    again = run_stage(context, DOUBLE, jobs(tmp_path / "log"))
    assert sorted((tmp_path / "log").read_text().split()) == ["1", "2"]
    assert again.checksum == first.checksum


def test_keys_depend_on_settings_inputs_and_version_but_not_on_options(context):
    plain = Job(index="p0", settings={"numbers": [1]})
    assert plain.key(DOUBLE) == Job(index="p0", settings={"numbers": [1]}, options={"log": "x"}, units=9).key(DOUBLE)
    assert plain.key(DOUBLE) != Job(index="p0", settings={"numbers": [2]}).key(DOUBLE)
    assert plain.key(DOUBLE) != plain.key(Stage(name="double", version=2, function=DOUBLE.function))
    part = run_stage(context, DOUBLE, jobs()).parts[0]
    assert Job(index="p0", inputs={"x": (part,)}).key(DOUBLE) != Job(index="p0").key(DOUBLE)


def test_equal_output_of_other_settings_spoils_nothing_downstream(context):
    """A reader's key holds the checksum of what it reads, not the key of whoever wrote it."""
    first = run_stage(context, DOUBLE, jobs(groups=((1, 2),))).parts[0]
    other = run_stage(context, Stage(name="double", version=2, function=DOUBLE.function), jobs(groups=((1, 2),))).parts[0]
    assert first.key != other.key
    assert Job(index="r", inputs={"x": (first,)}).key(DOUBLE) == Job(index="r", inputs={"x": (other,)}).key(DOUBLE)


def test_a_failing_partition_leaves_the_others_committed(context, tmp_path):
    broken = [*jobs(tmp_path / "log"), Job(index="p2", settings={"numbers": None})]
    with pytest.raises(TypeError):
        run_stage(context, DOUBLE, broken)
    assert find_stage(context.storage, DOUBLE, broken) is None
    (tmp_path / "log").unlink()
    run_stage(context, DOUBLE, jobs(tmp_path / "log"))
    assert not (tmp_path / "log").exists()


def test_reading_a_missing_file_names_it(context, tmp_path):
    part = run_stage(context, DOUBLE, jobs()).parts[0]
    (tmp_path / "root" / part.files[0].path).unlink()
    with pytest.raises(StorageError, match=r"doubled\.parquet"):
        read_table(context.storage, part.files[0])


@pytest.mark.fault("memory runs out in the process itself", "a stage that raises MemoryError until its pieces are small")
def test_where_memory_runs_out_the_partition_is_cut_into_pieces(context):
    manifest = run_stage(context, REFUSED, jobs(groups=((1, 2),)))
    assert manifest.parts[0].meta == {"pieces": 16}
    assert sum(event[1] for event in context.progress.events if event[0] == "advance") == 2
    with pytest.raises(StorageError, match="stage whole, partition p0: memory ran out") as ended:
        run_stage(context, WHOLE, jobs(groups=((1, 2),)))
    assert "document_partitions" in ended.value.mend
