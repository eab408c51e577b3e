import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.score.pairs import blocks, marked, unique_pairs
from tasks.teacher import to_score


def test_asked_rows_are_marked():
    assert marked(pa.table({"row": pa.array([0, 3], pa.int64())}), 4).tolist() == [True, False, False, True]
    assert marked(pa.table({"row": pa.array([], pa.int64())}), 2).tolist() == [False, False]


def test_positives_and_whatever_a_source_ranks_within_the_depth():
    table = pa.table(
        {
            "is_positive": [True, False, False, False, None],
            "dense_rank": pa.array([None, 2, 3, None, None], pa.int32()),
            "bm25_rank": pa.array([None, 9, None, 1, 3], pa.int32()),
        }
    )
    assert to_score(table, 2, ["dense", "bm25"]).tolist() == [True, True, False, True, False]
    assert to_score(table, 2, []).tolist() == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1, [(0, 2, 2), (2, 5, 1), (5, 6, 1)]), (3, [(0, 5, 3), (5, 6, 1)]), (99, [(0, 6, 4)])],
)
def test_blocks_by_hand(size, expected):
    ids = pa.chunked_array([["a", "a", "b", "b", "b", "c"]])
    assert blocks(ids, np.array([1, 1, 0, 1, 0, 1], dtype=bool), size) == expected


def test_no_rows_are_one_block():
    assert blocks(pa.chunked_array([[]], pa.string()), np.empty(0, dtype=bool), 5) == [(0, 0, 0)]


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1), st.integers(1, 9))
def test_blocks_cover_all_rows_and_split_no_query(queries, size):
    ids = [f"q{number:03d}" for number, rows in enumerate(queries) for _ in rows]
    wanted = np.array([row for rows in queries for row in rows])
    made = blocks(pa.chunked_array([ids]), wanted, size)
    assert [start for start, _, _ in made] == [0, *(stop for _, stop, _ in made[:-1])]
    assert made[-1][1] == len(ids)
    for start, stop, pairs in made:
        assert pairs == wanted[start:stop].sum()
        assert start == 0 or ids[start] != ids[start - 1]


def test_unique_pairs():
    pairs, rows = unique_pairs(pa.chunked_array([["b", "a", "b", "b"]]), pa.chunked_array([["x", "z", "x", "a"]]))
    assert pairs.to_pylist() == [
        {"query_hash": "a", "doc_hash": "z"},
        {"query_hash": "b", "doc_hash": "a"},
        {"query_hash": "b", "doc_hash": "x"},
    ]
    assert rows.tolist() == [1, 3, 0]
