import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import InputError, UsageError
from tasks.truth.in_batch import batches, by_truth, in_batch, pairs
from tasks.truth.in_batch_strata import by_stratum, estimated

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
    found = in_batch(given, truth)
    assert (found.pairs, found.pair_share.estimate, found.row_share.estimate) == (12, 0.25, 0.5)
    assert (found.rows, found.batch_size, found.estimator) == (4, 4, "truth")


def test_smaller_batches_and_a_short_last_one():
    # batches (q1 q2 q3) and (q4): 6 pairs, q4 has no other row and is no row that counts
    given = batches(ROWS, 3)
    found = in_batch(given, by_truth(given, relevant(("q1", "b"), ("q4", "a"))))
    assert found.pairs == 6
    assert found.pair_share.estimate == pytest.approx(1 / 6)
    assert found.row_share.estimate == pytest.approx(1 / 3)


def test_negatives_of_other_rows():
    # q1: z x; q2: x y x; q3: x y z x; q4: x y z: 12 pairs; (q3, x) is met twice
    given = batches(ROWS, 4)
    found = in_batch(given, by_truth(given, relevant(("q3", "x"))), "negatives")
    assert (found.pairs, found.pair_share.estimate, found.row_share.estimate) == (12, pytest.approx(2 / 12), 0.25)


def test_probabilities_by_stratum():
    given = batches(ROWS, 2)
    # each row has one other positive; likely for q1 (similar) only: (0.5 + 3·0.1)/4
    relevance = by_stratum(lambda query, doc: np.where(query == 0, 0.9, 0.0), [0.5], [0.1, 0.5])
    found = in_batch(given, relevance, estimator="strata")
    assert found.pair_share.estimate == pytest.approx(0.2)
    assert found.row_share.estimate == pytest.approx(0.2)


def test_rows_from_independent_pairs():
    # two other positives of probability ½ each: a row is hit with ¾
    given = batches(ROWS.slice(0, 3), 3)
    found = in_batch(given, lambda query, doc: np.full(len(doc), 0.5))
    assert found.pair_share.estimate == 0.5
    assert found.row_share.estimate == pytest.approx(0.75)


def topics(rows=4800, topics=77, seed=0):
    generator = np.random.default_rng(seed)
    topic = generator.integers(0, topics, rows)
    table = pa.table({"query_id": [f"q{n}" for n in range(rows)], "positive_id": [f"d{n}" for n in range(rows)]})
    given = batches(table, 48)
    noise = generator.normal(size=rows) * 0.05

    def truth(query, doc):
        return (topic[query] == topic[doc]).astype(float)

    def similarity(query, doc):
        return np.where(truth(query, doc) > 0, 0.7, 0.3 + 0.3 * ((query * 31 + doc * 17) % 100 < 5)) + noise[query] + noise[doc]

    return given, truth, similarity


def test_pairs_and_rows_are_different_units():
    given, truth, _ = topics()
    found = in_batch(given, truth)
    # 1/77 = 1.30 % of the pairs; 1 − (1 − 1/77)^47 = 45.9 % of the rows
    assert found.pair_share.estimate == pytest.approx(0.0130, abs=0.001)
    assert found.row_share.estimate == pytest.approx(0.459, abs=0.025)
    assert found.pair_share.low < 1 / 77 < found.pair_share.high


def test_similarity_strata_find_the_rate():
    given, truth, similarity = topics()
    exact = in_batch(given, truth)
    judged = []

    def judge(query, doc):
        judged.append(len(doc))
        return truth(query, doc)

    found = estimated(given, similarity, judge, [0.45, 0.55, 0.65], budget=600)
    assert judged == [600]
    assert found == estimated(given, similarity, judge, [0.45, 0.55, 0.65], budget=600)
    assert found.pairs == exact.pairs
    for share, true in ((found.pair_share, exact.pair_share), (found.row_share, exact.row_share)):
        assert share.low <= true.estimate <= share.high
        assert share.low < share.estimate < share.high
    assert found.pair_share.high - found.pair_share.low < 0.012


@pytest.mark.parametrize("budget", [300, 1500])
def test_intervals_of_the_strata_cover(budget):
    given, truth, similarity = topics(rows=960)
    exact = in_batch(given, truth)
    held = np.zeros(2)
    for seed in range(60):
        found = estimated(given, similarity, truth, [0.45, 0.55, 0.65], budget=budget, seed=seed)
        held += [
            found.pair_share.low <= exact.pair_share.estimate <= found.pair_share.high,
            found.row_share.low <= exact.row_share.estimate <= found.row_share.high,
        ]
    assert (held >= 0.9 * 60).all()


def test_judging_all_pairs_is_exact():
    given = batches(ROWS, 4)
    truth = by_truth(given, relevant(("q1", "b"), ("q4", "a")))
    found = estimated(given, lambda query, doc: doc * 0.1, truth, [0.15], budget=100)
    assert found.pair_share.estimate == pytest.approx(2 / 12)


def test_refusals():
    with pytest.raises(UsageError, match="no other row"):
        batches(ROWS, 1)
    with pytest.raises(InputError, match="no training rows"):
        batches(ROWS.slice(0, 0), 4)
    with pytest.raises(InputError, match="no row shares"):
        in_batch(batches(ROWS.slice(0, 1), 4), lambda query, doc: np.zeros(len(doc)))
    with pytest.raises(UsageError, match="1 edges make 2 strata, 3"):
        by_stratum(lambda query, doc: np.zeros(len(doc)), [0.5], [0.1, 0.2, 0.3])
