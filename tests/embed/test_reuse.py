import numpy as np

from tasks.embed.reuse import plan_reuse


def of(*hashes):
    return np.array(hashes, dtype="S32")


def test_by_hand():
    plan = plan_reuse(of(b"c", b"a", b"c", b"b"), of(b"x", b"b"))
    assert plan.first.tolist() == [0, 1, 3]
    assert plan.inverse.tolist() == [0, 1, 0, 2]
    assert plan.old.tolist() == [-1, -1, 1]
    assert plan.todo.tolist() == [0, 1]


def test_edges():
    assert plan_reuse(of(), of(b"a")).todo.tolist() == []
    assert plan_reuse(of(b"a", b"z"), of()).todo.tolist() == [0, 1]
    assert plan_reuse(of(b"z", b"0"), of(b"a")).old.tolist() == [-1, -1]


def test_vectors_go_to_all_rows_of_their_input():
    plan = plan_reuse(of(b"c", b"a", b"c", b"b"), of())  # places: c 0, a 1, b 2
    rows = np.zeros((4, 1))
    plan.put(rows, np.array([2, 0]), np.array([[7.0], [5.0]]))
    assert rows.tolist() == [[5.0], [0.0], [5.0], [7.0]]
    plan.put(rows, np.array([], dtype=np.int64), np.empty((0, 1)))
    assert rows.tolist() == [[5.0], [0.0], [5.0], [7.0]]
