import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import InputError, UsageError
from tasks.truth.in_batch import batches, by_truth, pairs, some
from tests.truth.shares import shares

ROWS = pa.table(
    {
        "query_id": ["q1", "q2", "q3", "q4"],
        "positive_id": ["a", "b", "c", "d"],
        "negatives": [["x", "y"], ["z"], [], ["x"]],
    }
)


def relevant(*found):
    return pa.table({"query_id": [query for query, _ in found], "doc_id": [doc for _, doc in found]})


def listed(given, kind):
    return [(int(row), given.doc_ids[int(doc)].as_py()) for rows, docs in pairs(given, kind) for row, doc in zip(rows, docs, strict=True)]


def test_pairs_of_other_rows():
    given = batches(ROWS, 2)
    assert listed(given, "positives") == [(0, "b"), (1, "a"), (2, "d"), (3, "c")]
    assert listed(given, "negatives") == [(0, "z"), (1, "x"), (1, "y"), (2, "x")]


def test_exact_shares():
    # batch of 4: 12 pairs, of them (q1, b) and (q1, c) and (q4, a): 3/12; rows q1 and q4 are hit: 2/4. The row's own (q1, a) does not count
    given = batches(ROWS, 4)
    truth = by_truth(given, relevant(("q1", "a"), ("q1", "b"), ("q1", "c"), ("q4", "a"), ("q9", "a"), ("q1", "nowhere")))
    found = shares(given, truth)
    assert (found.pairs, found.pair_share.estimate, found.row_share.estimate) == (12, 0.25, 0.5)


def test_smaller_batches_and_a_short_last_one():
    # batches (q1 q2 q3) and (q4): 6 pairs, q4 has no other row and is no row that counts
    given = batches(ROWS, 3)
    found = shares(given, by_truth(given, relevant(("q1", "b"), ("q4", "a"))))
    assert found.pairs == 6
    assert found.pair_share.estimate == pytest.approx(1 / 6)
    assert found.row_share.estimate == pytest.approx(1 / 3)


def test_negatives_of_other_rows():
    # q1: z x; q2: x y x; q3: x y z x; q4: x y z: 12 pairs; (q3, x) is met twice
    given = batches(ROWS, 4)
    found = shares(given, by_truth(given, relevant(("q3", "x"))), "negatives")
    assert (found.pairs, found.pair_share.estimate, found.row_share.estimate) == (12, pytest.approx(2 / 12), 0.25)


def test_rows_from_independent_pairs():
    # two other positives of probability ½ each: a row is hit with ¾
    given = batches(ROWS.slice(0, 3), 3)
    found = shares(given, lambda query, doc: np.full(len(doc), 0.5))
    assert found.pair_share.estimate == 0.5
    assert found.row_share.estimate == pytest.approx(0.75)


def topics(rows=4800, topics=77, seed=0):
    topic = np.random.default_rng(seed).integers(0, topics, rows)
    table = pa.table({"query_id": [f"q{n}" for n in range(rows)], "positive_id": [f"d{n}" for n in range(rows)]})
    return batches(table, 48), lambda query, doc: (topic[query] == topic[doc]).astype(float)


def test_pairs_and_rows_are_different_units():
    given, truth = topics()
    found = shares(given, truth)
    # 1/77 = 1.30 % of the pairs; 1 − (1 − 1/77)^47 = 45.9 % of the rows
    assert found.pair_share.estimate == pytest.approx(0.0130, abs=0.001)
    assert found.row_share.estimate == pytest.approx(0.459, abs=0.025)
    assert found.pair_share.low < 1 / 77 < found.pair_share.high


def test_some_batches():
    """Whole batches in their order: of (3, 3, 3, 1) rows two of three fit seven, all ten, and one is the least."""
    given = batches(pa.table({"query_id": list("abcdefghij"), "positive_id": list("ABCDEFGHIJ")}), 3)
    assert some(given, 10, 0) is given
    drawn = some(given, 7, 0)
    assert drawn.query.tolist() == some(given, 7, 0).query.tolist()
    assert np.diff(drawn.starts).tolist() in ([3, 3], [3, 3, 1]) and drawn.starts[-1] == len(drawn.query) == len(drawn.positive)
    assert (drawn.query == drawn.positive).all() and (np.diff(drawn.query) > 0).all()
    assert len(np.diff(some(given, 2, 0).starts)) == 1


def test_refusals():
    with pytest.raises(UsageError, match="no other row"):
        batches(ROWS, 1)
    with pytest.raises(InputError, match="no training rows"):
        batches(ROWS.slice(0, 0), 4)
    with pytest.raises(InputError, match="no pairs to count"):
        shares(batches(ROWS.slice(0, 1), 4), lambda query, doc: np.zeros(len(doc)))
