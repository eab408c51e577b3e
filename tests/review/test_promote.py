import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.review.promote import CANDIDATES, REASONS, Promotion, promote
from tasks.review.settings import PromotionSettings
from tasks.schema import PROMOTIONS

SPLITS = pa.table({"query_id": ["q1", "q2", "q3", "q4", "q6"], "split": pa.array(["train", "dev", "Calibration", None, "Train"])})


def candidates(*given):
    """query, document, signals, against, score; labelled where the document's name begins with ``own``."""
    names = ("query_id", "doc_id", "signals", "against", "score")
    rows = [dict(zip(names, row, strict=True)) | {"labelled": row[1].startswith("own")} for row in given]
    return pa.Table.from_pylist(rows, schema=CANDIDATES)


def rows(table, *names):
    return [tuple(row.values()) for row in table.select(list(names) or table.column_names).to_pylist()]


def promoted(found):
    return rows(found.promoted, "query_id", "doc_id", "signals", "score")


def test_two_signals_promote_best_first():
    both, three = ["teacher", "label_evidence"], ["review", "teacher", "label_evidence"]
    found = promote(
        candidates(
            ("q1", "a", both, None, 0.9),
            ("q1", "b", both, [], 0.95),
            ("q1", "c", three, None, None),  # most signals, so first
            ("q1", "d", both, None, 0.9),  # as good as a, whose id comes first: over the cap of three
            ("q1", "e", ["teacher", "teacher"], None, 0.99),  # one signal, named twice
            ("q1", "f", both, ["review"], 0.99),
            ("q1", "own", both, None, 0.99),
            ("q1", "h", None, None, 0.99),
            ("q2", "a", three, None, 1.0),
            ("q3", "a", three, None, 1.0),
            ("q4", "a", both, None, 0.5),  # in no split
            ("q5", "a", both, None, None),  # unknown to the splits
            ("q6", "a", both, None, 0.1),
        ),
        SPLITS,
        PromotionSettings(beyond_labels=False),
    )
    assert promoted(found) == [
        ("q1", "c", ["label_evidence", "review", "teacher"], None),
        ("q1", "b", ["label_evidence", "teacher"], 0.95),
        ("q1", "a", ["label_evidence", "teacher"], 0.9),
        ("q4", "a", ["label_evidence", "teacher"], 0.5),
        ("q5", "a", ["label_evidence", "teacher"], None),
        ("q6", "a", ["label_evidence", "teacher"], 0.1),
    ]
    assert found.promoted.schema == PROMOTIONS
    assert rows(found.refused) == [
        ("q1", "d", "over_cap"),
        ("q1", "e", "few_signals"),
        ("q1", "f", "contradicted"),
        ("q1", "h", "few_signals"),
        ("q1", "own", "labelled"),
        ("q2", "a", "protected"),
        ("q3", "a", "protected"),
    ]
    assert found.counts == {
        "labelled": 1,
        "promoted": 0,
        "protected": 2,
        "contradicted": 1,
        "few_signals": 2,
        "same_labels": 0,
        "over_cap": 1,
    }


def test_signals_from_the_same_labels_alone_promote_only_where_that_is_asked_for():
    """Teacher and label evidence rest on the same labels: with a review, or a second teacher, the pair is promoted."""
    own = ["teacher", "label_evidence"]
    given = candidates(
        ("q1", "a", own, None, 0.9),
        ("q1", "b", [*own, "review"], None, 0.8),
        ("q1", "c", ["label_evidence", "second_teacher"], None, 0.7),
        ("q1", "d", ["second_teacher"], None, 0.6),
        ("q2", "a", own, None, 0.9),  # of split dev too: what it lacks is said first
    )
    found = promote(given, SPLITS)
    assert [doc for _, doc, *_ in promoted(found)] == ["b", "c"]
    assert rows(found.refused) == [("q1", "a", "same_labels"), ("q1", "d", "few_signals"), ("q2", "a", "same_labels")]
    assert (found.counts["same_labels"], found.counts["few_signals"]) == (2, 1)
    alone = promote(given, SPLITS, PromotionSettings(beyond_labels=False))
    assert [doc for _, doc, *_ in promoted(alone)] == ["b", "a", "c"]
    assert (alone.counts["same_labels"], alone.counts["protected"]) == (0, 1)


def test_earlier_promotions_count_towards_the_cap_and_are_not_promoted_again():
    given = candidates(*(("q1", doc, ["a", "b"], None, score) for doc, score in (("x", 0.1), ("y", 0.2), ("z", 0.3))))
    earlier = pa.table({"query_id": ["q1", "q1", "q2"], "doc_id": ["z", "elsewhere", "x"]})
    found = promote(given, SPLITS, earlier=earlier)
    assert promoted(found) == [("q1", "y", ["a", "b"], 0.2)]  # two of three stand
    assert rows(found.refused) == [("q1", "x", "over_cap"), ("q1", "z", "promoted")]
    assert promote(given, SPLITS, PromotionSettings(per_query=2), earlier).promoted.num_rows == 0


def test_more_signals_may_be_asked_for_but_never_one():
    given = candidates(("q1", "x", ["a", "b"], None, 0.1))
    assert promote(given, SPLITS).promoted.num_rows == 1
    assert promote(given, SPLITS, PromotionSettings(min_signals=3)).counts["few_signals"] == 1
    with pytest.raises(ValueError, match="min_signals"):
        PromotionSettings(min_signals=1)


def test_pieces_are_one():
    one = promote(candidates(("q1", "x", ["a", "b"], None, 0.1), ("q1", "y", ["a"], None, 0.1)), SPLITS)
    two = promote(candidates(("q2", "x", ["a", "b"], None, 0.1)), SPLITS)
    both = Promotion.of([one, two])
    assert (promoted(both), rows(both.refused)) == (promoted(one), [("q1", "y", "few_signals"), ("q2", "x", "protected")])
    assert both.counts == dict.fromkeys(REASONS, 0) | {"few_signals": 1, "protected": 1}
    assert Promotion.of([]).promoted.schema == PROMOTIONS


PAIR = st.tuples(st.sampled_from(["q1", "q2", "q4"]), st.sampled_from(["a", "b", "c", "d", "own"]))
NAMES = st.lists(st.sampled_from(["teacher", "label_evidence", "review", "second_teacher"]), max_size=4)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(PAIR, st.tuples(NAMES, st.none() | st.floats(0, 1)), max_size=12), st.sets(PAIR, max_size=4), st.integers(1, 3))
def test_every_candidate_is_accounted_for(given, earlier, most):
    table = candidates(*((*pair, signals, None, score) for pair, (signals, score) in given.items()))
    before = pa.table(
        {name: pa.array([pair[at] for pair in sorted(earlier)], pa.string()) for at, name in enumerate(("query_id", "doc_id"))}
    )
    found = promote(table, SPLITS, PromotionSettings(per_query=most), before)
    new = {row[:2] for row in promoted(found)}
    assert new | {row[:2] for row in rows(found.refused)} == set(given)
    assert len(new) + sum(found.counts.values()) == len(given)
    assert not new & earlier
    assert all(query != "q2" and doc != "own" and len(set(given[query, doc][0])) >= 2 for query, doc in new)
    assert all(set(given[pair][0]) & {"review", "second_teacher"} for pair in new)
    for query in {query for query, _ in new}:
        assert sum(one[0] == query for one in new | earlier) <= most
