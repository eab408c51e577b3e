"""The batches that the in-batch rate is of are those that the trainer makes."""

import gzip
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hsettings
from hypothesis import strategies as st

from tasks.finetune.grid import grid, lessons
from tasks.finetune.lines import lines
from tasks.models.order import passes, training_order
from tasks.models.samples import shuffled
from tasks.models.train_settings import TrainSettings
from tasks.schema import ROWS, scored
from tasks.truth.in_batch import batches, by_truth
from tasks.truth.in_batch_rows import training_rows
from tasks.truth.settings import EstimateSettings
from tests.truth.shares import shares

DATA = Path(os.environ.get("HARDMINE_DATA", "/nowhere")) / "banking77-thin"


def part(number, rows):
    """rows: (stage, epoch, row_no, query), each with one negative."""
    listed = [
        {"stage": stage, "epoch": epoch, "row_no": row_no, "query_id": query, "positive_id": f"p{query}", "slot": slot, "doc_id": doc}
        for stage, epoch, row_no, query in rows
        for slot, doc in enumerate((f"p{query}", "n"))
    ]
    table = pa.Table.from_pylist([{name: row.get(name) for name in ROWS.names} for row in listed], ROWS)
    return table, table.append_column("part", pa.array([number] * table.num_rows, pa.int64()))


def queries(names, splits=None):
    return pa.table({"query_id": names, "split": pa.array(splits or [None] * len(names), pa.string())})


def test_order_by_hand():
    """Stage b comes first here; of stage a the second epoch's row is not in the first pass; query 3 is held out."""
    _, first = part(0, [("a", 0, 1, "1"), ("a", 0, 0, "2"), ("b", 0, 0, "1"), ("a", 1, 0, "1")])
    _, second = part(1, [("a", 0, 0, "3"), ("a", 0, 1, "4"), ("b", 0, 0, "4"), ("c", 0, 0, "4")])
    known = queries(["1", "2", "3", "4"], ["train", None, "test", "Train"])
    table, found = training_rows(pa.concat_tables([first, second]), known, ("b", "a"))
    assert table["query_id"].to_pylist() == ["1", "4", "2", "1", "4", "1"]
    assert found.tolist() == [[0, 2], [2, 5]]
    table, found = training_rows(pa.concat_tables([first, second]), known, ())
    assert table["query_id"].to_pylist() == ["2", "1", "4", "1", "1", "4", "4"] and found.tolist() == [[0, 3], [4, 6], [6, 7]]


@hsettings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(["main", "hard"]), st.integers(0, 2), st.integers(0, 6)), unique=True, max_size=12),
        min_size=1, max_size=3,
    ),
    st.lists(st.sampled_from(["train", "dev", None]), min_size=7, max_size=7),
    st.integers(2, 5), st.integers(0, 3),
)  # fmt: skip
def test_the_same_batches_as_the_trainer(parts, splits, size, seed):
    names = [f"{number}.{query}" for number in range(len(parts)) for query in range(7)]
    known = queries(names, splits * len(parts))
    made = [part(number, [(stage, epoch, at, f"{number}.{at}") for stage, epoch, at in rows]) for number, rows in enumerate(parts)]
    trained = known.filter(pa.array([split != "dev" for split in splits * len(parts)]))
    table = pa.concat_tables([lines(own, scored(["dense"]).empty_table(), trained) for own, _ in made])
    theirs = grid(table, np.zeros(table.num_rows, dtype=np.int64), ("main", "hard"), None)
    ours, found = training_rows(pa.concat_tables([own for _, own in made]), known, ("main", "hard"))
    assert ours["query_id"].to_pylist() == theirs.query_ids.tolist()
    assert found.tolist() == lessons(theirs, 1).tolist()
    steps = [[theirs.query_ids[row] for row in batch] for batch in shuffled(lessons(theirs, 1), size, seed)]
    if steps:
        given_ = batches(ours, size, shuffled(found, size, seed))
        asked = given_.query_ids.take(pa.array(given_.query)).to_pylist()
        assert [asked[start:end] for start, end in zip(given_.starts, given_.starts[1:], strict=False)] == steps


def test_a_last_row_joins_the_batch_before():
    """Five rows in batches of two: of three there are 2 + 6 pairs."""
    table = pa.table({"query_id": list("abcde"), "positive_id": list("ABCDE")})
    made = batches(table, 2, shuffled(passes(np.zeros(5, np.int64), np.zeros(5, np.int64), 1), 2, 0))
    assert np.diff(made.starts).tolist() == [2, 3]
    assert shares(made, lambda query, doc: np.zeros(len(doc))).pairs == 8


def test_unknown_pairs_are_left_out():
    """Of the six pairs of three rows one is relevant and two are unknown, all that query c has: 1 of 4 pairs, 1 of 2 rows."""
    table = pa.table({"query_id": list("abc"), "positive_id": list("ABC")})
    truth = pa.table({"query_id": ["a"], "doc_id": ["B"]})
    unknown = pa.table({"query_id": ["c", "c", "a"], "doc_id": ["A", "B", "B"]})  # what is relevant is known
    made = batches(table, 3)
    found = shares(made, by_truth(made, truth, unknown))
    assert (found.pairs, found.pair_share.estimate, found.row_share.estimate) == (4, 0.25, 0.5)


def test_defaults_are_those_of_the_training():
    assert EstimateSettings().batch_sizes == (TrainSettings().batch_size,) == (48,)
    assert EstimateSettings().batch_seed == TrainSettings().seed
    assert training_order(np.array([0, -1], np.int64), np.array([0, 0], np.int64)).tolist() == [0]


@pytest.mark.skipif(not DATA.is_dir(), reason="the collections of $HARDMINE_DATA are absent")
def test_banking77_thin():
    """All 3,080 labelled queries, one positive each, at batch 48: 1.3 % of the pairs are relevant, and 45 % of the rows are hit."""

    def read(name, open_):
        with open_(DATA / "qrels" / name, "rt") as file:
            return [row.rstrip("\n").split("\t")[:2] for row in list(file)[1:]]

    def pairs(rows, first, second):
        return pa.table({first: [query for query, _ in rows], second: [doc for _, doc in rows]})

    settings, labelled = EstimateSettings(), pairs(read("labelled.tsv", open), "query_id", "positive_id")
    zeros = pa.array([0] * labelled.num_rows)
    rows = labelled.append_column("row_no", pa.array(range(labelled.num_rows)))
    for name, column in {"part": zeros, "epoch": zeros, "slot": zeros, "stage": pa.array(["main"] * labelled.num_rows)}.items():
        rows = rows.append_column(name, column)
    table, found = training_rows(rows, queries(labelled["query_id"].to_pylist()), ("main",))
    made = batches(table, 48, shuffled(found, 48, settings.batch_seed))
    both = shares(made, by_truth(made, pairs(read("exhaustive.tsv.gz", gzip.open), "query_id", "doc_id")))
    assert both.pair_share.estimate == pytest.approx(0.013, abs=0.0015)
    assert both.row_share.estimate == pytest.approx(0.45, abs=0.03)
    assert 0.45 - 0.04 < both.row_share.low < both.row_share.estimate < both.row_share.high < 0.45 + 0.05
