import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.retrieve.random_documents import draw
from tasks.retrieve.ranking import keep_best, ranks, retrieved_table

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=40)


def test_ranks_break_ties_by_the_given_order():
    rank = ranks(np.array([1, 0, 0, 0]), np.array([0.1, 0.5, 0.5, 0.9]), np.array([0, 2, 1, 0]))
    assert rank.tolist() == [1, 3, 2, 1]


def test_keep_best_keeps_all_ties_at_the_border():
    keep = keep_best(np.array([0, 0, 0, 0, 3]), np.array([0.9, 0.5, 0.5, 0.1, 0.2]), 2)
    assert keep.tolist() == [True, True, True, False, True]


def test_retrieved_table_is_sorted_and_leaves_out_what_was_not_found():
    table = retrieved_table(np.array([[0.5, 0.5, 0.9], [0.1, -np.inf, -np.inf]], dtype=np.float32), np.array([[7, 3, 5], [2, -1, -1]]))
    assert table["query_row"].to_pylist() == [0, 0, 0, 1]
    assert table["doc_row"].to_pylist() == [5, 3, 7, 2]


@given(ROWS, st.integers(1, 5))
def test_keep_best_and_ranks_agree_with_sorting(rows, top_k):
    query, score = np.array([q for q, _ in rows], dtype=np.int64), np.array([s for _, s in rows], dtype=np.float32)
    tie = np.arange(len(rows))
    rank, keep = ranks(query, score, tie), keep_best(query, score, top_k)
    for row, (name, value) in enumerate(rows):
        mine = sorted((-s, place) for place, (q, s) in enumerate(rows) if q == name)
        assert rank[row] == mine.index((-value, row)) + 1
        assert keep[row] == (-value <= mine[min(top_k, len(mine)) - 1][0])


def test_draw_is_distinct_repeatable_and_independent_of_other_queries():
    drawn = draw(["a", "b", "c"], 20, 8, seed=1)
    assert all(len(set(row)) == 8 and min(row) >= 0 and max(row) < 20 for row in drawn.tolist())
    assert draw(["b"], 20, 8, seed=1).tolist() == drawn[1:2].tolist()
    assert draw(["b"], 20, 8, seed=2).tolist() != drawn[1:2].tolist()


def test_draw_takes_all_documents_when_there_are_too_few():
    assert sorted(draw(["a"], 3, 10, seed=0)[0].tolist()) == [0, 1, 2]
    assert draw([], 3, 2, seed=0).shape == (0, 2)


def test_draw_is_even():
    counts = np.bincount(draw([str(number) for number in range(4000)], 10, 3, seed=0).ravel(), minlength=10)
    assert abs(counts - 1200).max() < 5 * np.sqrt(4000 * 0.3 * 0.7)
