"""Streams of real files: followed, divided and resumed, on a local root and on S3, by torch's and datasets' own loaders."""

import gc
import json
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pytest

from flows.stream import RoundStream, as_datasets
from tasks.audit.records import ShardsRef, publish_round
from tasks.errors import StorageError, UsageError
from tasks.shards.encoding import json_lines
from tasks.store.manifest import Part, StageManifest, commit_stage
from tasks.store.output import Output
from tests.audit.world import new_world, stage

ROOT = Path(__file__).parents[2]
SIZES = (5, 4, 6)
ROWS = sum(SIZES)


def published(world, record, key, first=0):
    """A round of three files with 15 rows, numbered from ``first``, and the same as JSONL."""
    tables, out, number = [], Output(world.storage, f"data/shards/{key}-lines"), first
    for part, size in enumerate(SIZES):
        table = pa.table({"anchor": [f"q{n}" for n in range(number, number + size)], "n": list(range(number, number + size))})
        tables.append({f"data/train-q{part}-00000.parquet": table, f"sidecar/train-q{part}-00000.parquet": table})
        out.data(f"data/train-q{part}-00000.jsonl", json_lines(table), size)
        number += size
    late = {"data-late/train-q0-00000.parquet": pa.table({"anchor": ["late"], "n": [-1]})}
    ref = stage(world.storage, "shards", key, [*tables, late])
    lines = Part(stage="shards", key=f"lines-{key}", index="q0000", files=tuple(out.files))
    commit_stage(
        world.storage,
        StageManifest(stage="shards", version=1, key=f"lines-{key}", settings={}, parts=(lines,), counters={}, seconds=0.0),
    )
    shards = {
        "triplet": ShardsRef(stage="shards", key=ref.key, folder=f"data/shards/{key}/data"),
        "flagembedding": ShardsRef(stage="shards", key=f"lines-{key}", folder=f"data/shards/{key}-lines/data"),
    }
    chosen = record.selections[0].model_copy(update={"shards": shards})
    return publish_round(world.storage, record.model_copy(update={"selections": (chosen,)}))


@pytest.fixture(params=["local", "s3"])
def world(request, tmp_path):
    made = new_world(tmp_path / "root" if request.param == "local" else request.getfixturevalue("s3_root"))
    published(made, made.first(), "one")
    return made


@pytest.fixture
def local(tmp_path):
    made = new_world(tmp_path / "root")
    published(made, made.first(), "one")
    return made


def numbers(rows):
    return [row["n"] for row in rows]


def joined(batches):
    return list(chain.from_iterable(batches))


def loader(stream, batch_size=2, workers=2):
    from torch.utils.data import DataLoader

    return DataLoader(stream, batch_size=batch_size, num_workers=workers, collate_fn=numbers)


def test_it_follows_the_pointer_from_epoch_to_epoch(world):
    stream = RoundStream(world.storage.root, "toy")
    assert (numbers(stream), stream.round, stream.epoch, len(stream)) == (list(range(ROWS)), 1, 0, ROWS)
    published(world, world.second(), "two", first=100)
    assert (numbers(stream), stream.round, stream.epoch) == (list(range(100, 100 + ROWS)), 2, 1)  # the next epoch, by itself
    assert numbers(RoundStream(world.storage.root, "toy", "flagembedding")) == list(range(100, 100 + ROWS))


def test_a_round_that_comes_meanwhile_waits_for_the_next_epoch(world):
    stream = RoundStream(world.storage.root)
    rows = iter(stream)
    first = [next(rows) for _ in range(3)]
    published(world, world.second(), "two", first=100)
    assert numbers([*first, *rows]) == list(range(ROWS))
    stream.set_epoch(1)
    assert (stream.round, next(iter(stream))["n"]) == (2, 100)


def test_a_stream_goes_on_at_a_row_even_in_a_round_that_is_no_longer_the_newest(world):
    stream = RoundStream(world.storage.root, seed=5)
    whole = numbers(stream)
    assert sorted(whole) == list(range(ROWS)) != whole
    again = RoundStream(world.storage.root, seed=5)
    rows = iter(again)
    head = [next(rows)["n"] for _ in range(7)]
    state = json.loads(json.dumps(again.state_dict()))  # as a trainer keeps it
    published(world, world.second(), "two", first=100)
    later = RoundStream(world.storage.root, seed=5)
    later.load_state_dict(state)
    later.set_epoch(0)  # trainers announce the epoch that they go on with, too
    assert later.round == 1
    assert head + numbers(later) == whole
    assert later.state_dict()["given"] == ROWS
    assert sorted(numbers(later)) == list(range(100, 100 + ROWS))  # the next epoch is the newest round


@pytest.mark.parametrize("other", [{"seed": 6}, {"seed": 5, "ranks": 4}, {"seed": 5, "ranks": 2, "tail": "drop"}])
def test_a_state_does_not_go_on_among_other_rows(local, other):
    stream = RoundStream(local.storage.root, seed=5, rank=1, ranks=2)
    rows = iter(stream)
    head = [next(rows)["n"] for _ in range(3)]
    state = json.loads(json.dumps(stream.state_dict()))
    with pytest.raises(UsageError, match="the state was taken with") as error:
        RoundStream(local.storage.root, **{"rank": 1, "ranks": 2, **other}).load_state_dict(state)
    assert "begin the epoch anew" in error.value.mend
    same = RoundStream(local.storage.root, seed=5, rank=1, ranks=2)
    same.load_state_dict(state)
    assert head + numbers(same) == numbers(RoundStream(local.storage.root, seed=5, rank=1, ranks=2))


@pytest.mark.parametrize("seed", [None, 3])
def test_ranks_and_a_loaders_workers_share_the_rows(world, seed):
    read = [
        joined(loader(RoundStream(world.storage.root, rank=rank, ranks=2, seed=seed, tail=tail)))
        for tail in ("keep", "repeat")
        for rank in (0, 1)
    ]
    assert sorted(read[0] + read[1]) == list(range(ROWS))
    assert (len(read[2]), len(read[3])) == (8, 8)
    assert set(read[2] + read[3]) == set(range(ROWS))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes:UserWarning")
@pytest.mark.parametrize("given", [1, 8])
def test_a_loader_with_workers_goes_on_after_its_batches(local, given):
    def batches(stream):
        return list(loader(stream, batch_size=2, workers=3))

    whole = batches(RoundStream(local.storage.root, seed=1))
    assert len(whole) == 9  # 5 rows each: two batches of two and one of one
    stream = RoundStream(local.storage.root, seed=1)
    state = stream.state_dict(batches=given, batch_size=2)
    later = RoundStream(local.storage.root, seed=1)
    later.load_state_dict(state)
    assert sorted(joined(whole[:given]) + joined(batches(later))) == list(range(ROWS))
    later.set_epoch(1)
    assert sorted(joined(batches(later))) == list(range(ROWS))


@pytest.mark.parametrize(("workers", "start"), [(1, "fork"), (2, "fork"), pytest.param(2, "spawn", marks=pytest.mark.slow)])
def test_workers_that_stay_hear_of_each_epoch(local, workers, start):
    """The same batches, epoch by epoch, as from workers that are made anew: another order each time, the newest round, a loaded state."""
    from torch.utils.data import DataLoader

    def make(persistent):
        stream = RoundStream(local.storage.root, seed=4)
        given = {"collate_fn": numbers, "multiprocessing_context": start, "persistent_workers": persistent}
        return stream, DataLoader(stream, batch_size=2, num_workers=workers, **given)

    stream, staying = make(True)
    other, anew = make(False)
    read, expected = [], []
    for epoch in range(3):
        stream.set_epoch(epoch)
        other.set_epoch(epoch)
        read.append(list(staying))
        expected.append(list(anew))
        if epoch == 1:
            published(local, local.second(), "two", first=100)
    assert read == expected
    assert sorted(joined(read[0])) == sorted(joined(read[1])) == list(range(ROWS))
    assert read[0] != read[1]
    assert sorted(joined(read[2])) == list(range(100, 100 + ROWS))
    state = stream.state_dict(batches=3, batch_size=2)
    stream.load_state_dict(state)
    assert sorted(joined(read[2][:3]) + joined(staying)) == list(range(100, 100 + ROWS))


def test_what_a_stream_tells_its_workers_goes_with_it(local, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    stream = RoundStream(local.storage.root)
    assert len(list(tmp_path.glob("hardmine-stream-*"))) == 1
    assert sorted(joined(loader(stream))) == list(range(ROWS))
    assert len(list(tmp_path.glob("hardmine-stream-*"))) == 1, "its workers' ends leave it there"
    del stream
    gc.collect()
    assert not list(tmp_path.glob("hardmine-stream-*"))


def test_a_curriculums_stage_is_a_stream_of_its_own(local):
    assert list(RoundStream(local.storage.root, stage="late")) == [{"anchor": "late", "n": -1}]
    with pytest.raises(UsageError, match="no rows of stage 'early'") as error:
        RoundStream(local.storage.root, stage="early")
    assert error.value.mend == "it has data, late"


def test_what_cannot_be_streamed_is_said(local, tmp_path):
    with pytest.raises(UsageError, match="was not written as 'swift'") as error:
        RoundStream(local.storage.root, "toy", "swift")
    assert "flagembedding, triplet" in error.value.mend
    with pytest.raises(UsageError, match="no round of dataset 'toi'") as error:
        RoundStream(local.storage.root, "toi")
    assert error.value.mend == "did you mean 'toy'?"
    with pytest.raises(UsageError, match="there is no round yet"):
        RoundStream(str(tmp_path / "empty"))
    stream = RoundStream(local.storage.root)
    state = stream.state_dict()
    with pytest.raises(UsageError, match="the state is of 'toy', format 'triplet'"):
        RoundStream(local.storage.root, "toy", "flagembedding").load_state_dict(state)
    Path(local.storage.root, state["files"][1]["path"]).unlink()
    with pytest.raises(UsageError, match="is no longer there"):
        stream.load_state_dict(state)


def test_a_damaged_file_is_not_read(local):
    stream = RoundStream(local.storage.root)
    path = Path(local.storage.root, stream.state_dict()["files"][0]["path"])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match="was damaged"):
        list(stream)


@pytest.mark.parametrize("name", ["triplet", "flagembedding"])
def test_datasets_streams_divides_and_resumes_it(world, name):
    from datasets.distributed import split_dataset_by_node

    found, number = as_datasets(world.storage.root, "toy", name)
    assert (found.column_names, found.num_shards, number) == (["anchor", "n"], 3, 1)
    assert numbers(found) == list(range(ROWS))
    parts = [numbers(split_dataset_by_node(found, rank, 2)) for rank in (0, 1)]
    assert sorted(parts[0] + parts[1]) == list(range(ROWS))
    rows = iter(found)
    head = [next(rows)["n"] for _ in range(7)]
    state = json.loads(json.dumps(found.state_dict()))
    published(world, world.second(), "two", first=100)
    later, _ = as_datasets(world.storage.root, "toy", name, number=number)
    later.load_state_dict(state)
    assert head + numbers(later) == list(range(ROWS))
    assert as_datasets(world.storage.root, "toy", name)[1] == 2


READ_BESIDE_PREFECT = """
import sys
from prefect._internal.concurrency.services import QueueService
from torch.utils.data import DataLoader
from flows.stream import RoundStream

class Idle(QueueService):
    async def _handle(self, item):
        print("handled", item)

Idle.instance().send("in the parent")
loader = DataLoader(RoundStream(sys.argv[1]), batch_size=2, num_workers=2, collate_fn=lambda rows: [row["n"] for row in rows])
print([number for batch in loader for number in batch])
"""


def test_a_loaders_workers_end_well_in_a_process_that_ran_a_flow(local):
    done = subprocess.run(
        [sys.executable, "-c", READ_BESIDE_PREFECT, local.storage.root],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    *_, told = (line for line in done.stdout.splitlines() if line.startswith("["))
    assert sorted(json.loads(told)) == list(range(ROWS))
    assert "handled in the parent" in done.stdout  # the parent's own queue is emptied as ever


READ_AS_RANK = """
import sys, json, torch.distributed as dist
from flows.stream import RoundStream
root, rank, init = sys.argv[1], int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", init_method=init, rank=rank, world_size=2)
stream = RoundStream(root)
print(json.dumps([stream.round, len(stream), [row["n"] for row in stream]]))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_ranks_of_torch_distributed_read_the_round_that_rank_0_found(local, tmp_path):
    """Rank 1 has a copy of the root without a round, so that it must take what rank 0 says."""
    shutil.copytree(local.storage.root, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "pointers")
    roots = (local.storage.root, str(tmp_path / "copy"))
    started = [
        subprocess.Popen(
            [sys.executable, "-c", READ_AS_RANK, root, str(rank), f"file://{tmp_path}/meet"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank, root in enumerate(roots)
    ]
    told = [json.loads(process.communicate(timeout=240)[0].splitlines()[-1]) for process in started]
    assert [one[:2] for one in told] == [[1, 8], [1, 8]]
    assert set(told[0][2] + told[1][2]) == set(range(ROWS))


@pytest.mark.parametrize("workers", [0, 2])
def test_torchdatas_loader_keeps_its_state(local, workers):
    loaders = pytest.importorskip("torchdata.stateful_dataloader")

    def make():
        stream = RoundStream(local.storage.root, seed=2)
        return loaders.StatefulDataLoader(stream, batch_size=2, num_workers=workers, collate_fn=numbers)

    first = make()
    whole = list(make())
    given = []
    for batch in first:
        given.append(batch)
        if len(given) == 3:
            state = first.state_dict()
            break
    later = make()
    later.load_state_dict(state)
    assert given + list(later) == whole
