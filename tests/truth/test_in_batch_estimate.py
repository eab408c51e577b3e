"""In-batch rates where there are no judgements: labels as marks, worked out on a few pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.store.vectors import stored_vectors
from tasks.truth.in_batch_strata import Strata, most_per_label, unlabelled_relevant
from tasks.truth.similar import Similar
from tasks.truth.task import Review, Vectors
from tests.select.tables import table
from tests.truth.test_stages import SOURCES, World, reviewed, rows

DOCS = ["p1", "p2", "d1", "d2", "d3", "d4", "e1", "e2", "e3", "e4"]


def test_strata_by_hand():
    """20 labelled pairs, ten at 0.2 and ten at 0.6: two strata, cut between. 40 sampled pairs, half below, stand for 400: 200 in each.

    With three unlabelled relevant for each labelled one 30 of 200 are relevant in each stratum.
    """
    labelled = np.repeat([0.2, 0.6], 10)
    strata = Strata.of(labelled, np.repeat([0.1, 0.7], 20), 400.0, 3.0)
    assert strata.edges.tolist() == [pytest.approx(0.4)] and strata.rate.tolist() == [0.15, 0.15]
    # of 40 sampled pairs 30 below: 10 labelled of 300, and of 100
    uneven = Strata.of(labelled, np.repeat([0.1, 0.7], [30, 10]), 400.0, 3.0)
    assert uneven.probability(np.array([0.0, 0.39, 0.4, 0.9])).tolist() == pytest.approx([0.1, 0.1, 0.3, 0.3])


def test_strata_that_are_not_there():
    assert Strata.of(np.empty(0), np.array([0.5]), 100.0, 3.0).probability(np.array([0.5])).tolist() == [0.0]  # no label out of reach
    assert Strata.of(np.array([0.5]), np.empty(0), 0.0, 3.0).rate.tolist() == [1.0]  # no pair but the labelled one
    assert Strata.of(np.repeat(0.5, 30), np.repeat(0.5, 10), 10.0, 9.0).rate.max() == 1.0


@given(st.lists(st.floats(-1, 1), max_size=60), st.lists(st.floats(-1, 1), min_size=1, max_size=60), st.floats(0, 20))
def test_no_more_than_there_are_marks_for(labelled, others, per_label):
    """Summed over the pairs, probabilities are at most per_label for each labelled one; and none is over 1."""
    strata = Strata.of(np.array(labelled), np.array(others), 10.0 * len(others), per_label)
    assert strata.rate.min() >= 0 and strata.rate.max() <= 1
    assert 10 * strata.probability(np.array(others)).sum() <= per_label * len(labelled) + 1e-6


def test_the_most_for_each_label():
    """Labelled at 0.1 … 1.0: the nearest tenth begins at 0.91 and holds one labelled document and two others."""
    similarity = np.array([*np.arange(1, 11) / 10, 0.95, 0.92, 0.9, 0.1])
    labelled = np.arange(14) < 10
    assert most_per_label(similarity, labelled, ~labelled) == 2.0
    assert unlabelled_relevant(np.array([0.0, 0.1, 0.25, 0.9]), 2.0).tolist() == pytest.approx([0.0, 2 / 9, 2 / 3, 1.0])


class Batch(World):
    """As World, with vectors and ten documents. q1's positive was not retrieved (0.1); q2's is at 0.85.

    Pairs: 20. Labelled: p1 and d2 of q1, p2 and d4 of q2. Unlabelled and scored: d1, d3, d4 of q1 and d1, d2, d3 of q2. Ten others.
    """

    def __init__(self, tmp_path, change=None):
        super().__init__(tmp_path)
        change = {("q1", "p1"): {"dense_rank": None, "dense_score": 0.1}, ("q2", "p2"): {"dense_score": 0.85}} | (change or {})
        for number, (query, hidden) in enumerate((("q1", "d2"), ("q2", "d4"))):
            mine = {row["doc_id"]: row for row in rows(query, hidden)}
            for (whose, doc), update in change.items():
                if whose == query:
                    mine[doc] = mine.get(doc, {"query_id": query, "doc_id": doc, "is_positive": False, "planted": False}) | update
            listed = [row | {"doc_row": DOCS.index(doc)} for doc, row in mine.items()]
            self.scored[number] = self.part("scored", {"scored.parquet": table(listed, SOURCES)}, number)
        self.decided = self.select(self.recipe)
        asked = [self.part("embed-queries", {"vectors.npy": np.array([[1.0, 0.0]], np.float32)}, number) for number in range(2)]
        told = np.array([[0.1 * number, 1.0] for number in range(len(DOCS))], np.float32)
        self.vectors = Vectors(asked, [self.part("embed-documents", {"vectors.npy": told})])

    def batch(self, name, **more):
        return self.measure(probed=False, vectors=self.vectors, **more).rate(name, "batch_size", "2")


def test_by_labels_alone(tmp_path):
    """The nearest tenth of the retrieved labelled (0.6, 0.8, 0.85) begins at 0.84: p2, and d1 of both queries: 2 for each labelled one.

    Out of reach one pair is labelled, so 2 of the ten others may be relevant: 0.2 for (q1, p2) and for (q2, p1), pairs and rows alike.
    """
    world = Batch(tmp_path)
    for name in ("in_batch_pairs_by_labels", "in_batch_rows_by_labels"):
        row = world.batch(name)
        assert (row["rate"], row["low"], row["pairs"]) == (pytest.approx(0.2), 0.0, 2) and row["high"] > 0.2
        assert "no bound: where labels are easier to find" in row["note"]
        assert ": 2 unlabelled relevant documents for each labelled one" in row["note"]
    found = world.measure(probed=False, vectors=world.vectors)
    assert not {"in_batch_pairs", "in_batch_pairs_estimated"} & found.estimators
    assert {row["slice"] for row in found.rows if row["estimator"] == "in_batch_rows_by_labels"} >= {"batch_size", "language", "length"}
    assert "in_batch_pairs_by_labels" not in world.measure(probed=False).estimators  # without vectors nothing is known of other pairs


def test_a_candidate_in_the_batch(tmp_path):
    """p2 is a candidate of q1 too, and labelled with 0.1: with two unlabelled relevant for each labelled one relevant with 2 × 0.1 / 0.9.

    Of the pairs out of reach nine are left: 2/9 for (q2, p1).
    """
    extra = {"dense_rank": 6, "dense_score": 0.5, "teacher_logit": 0.0, "teacher_sigmoid": 0.5, "teacher_calibrated": 0.1}
    world = Batch(tmp_path, {("q1", "p2"): extra})
    assert world.batch("in_batch_pairs_by_labels")["rate"] == pytest.approx((2 / 9 + 2 / 9) / 2)


def test_a_zero_in_the_batch_is_unknown_unless_it_is_trusted(tmp_path):
    """(q1, p2) is an explicit zero of the same score: no candidate for marks (ten others are out of reach), and in the batch it counts
    2/9; as a trusted one, a reviewer's, or with a grade under that of positives 0. (q2, p1) counts 2/10."""
    cases = [("none", 0, None, 2 / 9), ("trusted_zeros", 0, None, 0), ("none", 0, "reviewed", 0), ("none", 1, None, 0)]
    for number, (judged, grade, whose, rate) in enumerate(cases):
        extra = {"dense_rank": 6, "dense_score": 0.5, "teacher_logit": 0.0, "teacher_sigmoid": 0.5, "teacher_calibrated": 0.1}
        world = Batch(tmp_path / str(number), {("q1", "p2"): extra | {"relevance": grade, "provenance": whose}})
        row = world.batch("in_batch_pairs_by_labels", settings={"judged": judged, "min_grade": 2})
        assert row["rate"] == pytest.approx((rate + 0.2) / 2)


def test_on_a_review_it_is_an_estimate(tmp_path):
    """A census of the negatives calibrates: the other pairs have what the labelled documents in reach have beside them."""
    world = Batch(tmp_path)
    labels = reviewed(("q1", "d1", "relevant"), ("q1", "d3", "not"), ("q2", "d1", "not"), ("q2", "d2", "not"))
    row = world.batch("in_batch_rows_estimated", reviews=[Review(labels)])
    # one labelled pair out of reach and ten others: a tenth of the ratio in the note
    ratio = float(row["note"].split("by similarity: ")[1].split()[0])
    assert 0 < ratio < 2 and row["rate"] == pytest.approx(ratio / 10, rel=0.05)
    assert row["low"] < row["rate"] < row["high"] and "the review's calibration" in row["note"]


def test_without_a_teacher_labels_say_it(tmp_path):
    """No candidate has a probability: each of the 16 unlabelled pairs is by its stratum; 2 for each of the four labelled: 8 of 16."""
    world = Batch(tmp_path)
    gone = dict.fromkeys(("teacher_logit", "teacher_sigmoid", "teacher_calibrated"))
    names = [("q1", doc) for doc in ("d1", "d2", "d3", "d4")] + [("q2", doc) for doc in ("p2", "d1", "d2", "d3", "d4")]
    change = {pair: dict(gone) for pair in names} | {("q1", "p1"): gone | {"dense_rank": None, "dense_score": 0.1}}
    change[("q2", "p2")] |= {"dense_score": 0.85}
    world = Batch(tmp_path / "none", change)
    assert world.batch("in_batch_pairs_by_labels")["rate"] == pytest.approx(0.5)


def test_equal_inputs_give_equal_bytes(tmp_path):
    first, again = (Batch(tmp_path / name) for name in "ab")
    tables = [world.measure(vectors=world.vectors).tables["estimates"] for world in (first, again)]
    assert tables[0].equals(tables[1])


def test_products_of_stored_vectors(tmp_path):
    """Documents of two partitions; candidates are left out of the sample; a large collection is sampled and scaled."""
    world = Batch(tmp_path)
    documents = [np.array([[1.0, 0.0], [0.0, 2.0]], np.float32), np.array([[3.0, 1.0]], np.float32)]
    parts = [world.part("embed-documents", {"vectors.npy": array}, number) for number, array in enumerate(documents)]
    queries = [world.part("embed-queries", {"vectors.npy": np.array([[1.0, 1.0], [0.0, 1.0]], np.float32)})]
    fetch = stored_vectors(world.context.storage, parts)
    assert fetch(np.array([1, 0, 0]), np.array([0, 1, 1])).tolist() == [[3.0, 1.0], [0.0, 2.0], [0.0, 2.0]]

    one = np.array([0, 1])
    similar = Similar(stored_vectors(world.context.storage, queries), fetch, 0 * one, one, one[::-1], 0 * one, np.array([2, 1]))
    found, total = similar.sample(one, np.array([True, True]), np.array([True, False]), 0)
    # q0: 1, 2, (4 is a candidate); q1: 0, 2, 1
    assert found.tolist() == [1.0, 2.0, 0.0, 2.0, 1.0] and total == 5
    found, total = similar.sample(one, np.array([False, True]), np.array([True, True]), 0)  # (q1, first) is out
    assert found.tolist() == [2.0, 1.0] and total == 2
