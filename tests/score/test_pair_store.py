import numpy as np
import pyarrow as pa
import pytest

from tasks.schema import PAIRS
from tasks.score.pair_store import compact, first_of_each, lookup, pin, put_marker, segments
from tasks.store.keys import digest
from tasks.store.output import Output


def table_of(rows):
    return first_of_each(pa.table(list(map(list, zip(*rows, strict=True))), schema=PAIRS))


def put(storage, name, rows, teacher="t"):
    out = Output(storage, f"data/score/{name}")
    out.table("pairs.parquet", table_of(rows), row_group=4)
    put_marker(storage, teacher, name, out.files[0])
    return out.files[0]


def some(seed, count=30):
    generator = np.random.default_rng(seed)
    return [(digest("q", int(q)), digest("d", int(d)), float(q * 100 + d)) for q, d in generator.integers(0, 20, (count, 2))]


def test_first_of_each():
    rows = [("b", "x", 1.0), ("a", "x", 2.0), ("b", "x", 3.0), ("b", "a", 4.0)]
    assert table_of(rows).to_pylist() == [
        {"query_hash": "a", "doc_hash": "x", "logit": 2.0},
        {"query_hash": "b", "doc_hash": "a", "logit": 4.0},
        {"query_hash": "b", "doc_hash": "x", "logit": 1.0},
    ]


def test_lookup_finds_what_is_there(storage):
    one, two = some(1), some(2)
    put(storage, "one", one)
    put(storage, "two", two)
    wanted = table_of([*one[:7], *two[5:9], (digest("no"), digest("no"), 0.0)])
    found = lookup(storage, segments(storage, "t"), wanted.drop_columns(["logit"]))
    assert found.schema == PAIRS
    assert found.to_pylist() == [row for row in wanted.to_pylist() if row["logit"] != 0.0 or row["query_hash"] != digest("no")]
    assert lookup(storage, segments(storage, "another"), wanted.drop_columns(["logit"])).num_rows == 0
    assert lookup(storage, segments(storage, "t"), wanted.drop_columns(["logit"]).slice(0, 0)).num_rows == 0


def test_the_first_segment_counts(storage):
    put(storage, "1", [("a", "x", 1.0)])
    put(storage, "2", [("a", "x", 2.0)])
    wanted = pa.table({"query_hash": ["a"], "doc_hash": ["x"]})
    assert lookup(storage, segments(storage, "t"), wanted)["logit"].to_pylist() == [1.0]


def test_a_segment_that_is_gone_or_cut_off_is_left_out(storage):
    record = put(storage, "1", some(1))
    put(storage, "2", some(2))
    storage.local_copy(record.path, 0, "").write_bytes(b"short")
    assert [found.path for found in segments(storage, "t")] == ["data/score/2/pairs.parquet"]


def test_compaction_keeps_every_pair(storage):
    rows = [some(seed) for seed in range(6)]
    for number, part in enumerate(rows):
        put(storage, f"{number}", part)
    wanted = table_of([row for part in rows for row in part])
    assert len(pin(storage, "t", limit=6)) == 6
    pinned = segments(storage, "t")
    merged = pin(storage, "t", limit=5)
    assert {record.name for record in merged} <= {f"b={digit}.parquet" for digit in "0123456789abcdef"}
    assert sum(record.rows for record in merged) == wanted.num_rows
    for files in (pinned, merged):
        assert lookup(storage, files, wanted.drop_columns(["logit"])).equals(wanted)
    put(storage, "later", [("0" * 32, "1" * 32, 7.0)])
    assert len(segments(storage, "t")) == len(merged) + 1
    assert compact(storage, "t")
    assert sum(record.rows for record in segments(storage, "t")) == wanted.num_rows + 1


def test_a_lost_generation_falls_back_to_the_segments(storage):
    put(storage, "1", some(1))
    put(storage, "2", some(2))
    assert compact(storage, "t")
    storage.local_copy(segments(storage, "t")[0].path, 0, "").unlink()
    assert {record.name for record in segments(storage, "t")} == {"pairs.parquet"}


@pytest.mark.parametrize("teacher", ["t", "u"])
def test_teachers_are_kept_apart(storage, teacher):
    put(storage, "1", some(1), teacher)
    assert len(segments(storage, teacher)) == 1
    assert segments(storage, "other") == []
