import pytest

from tasks.compare.overlap import negative_pairs, overlaps
from tests.compare.build import decisions


def chosen(**queries):
    rows = [("main", query, "p", "positive") for query in queries]
    return negative_pairs(decisions(*rows, *(("main", query, doc, "negative") for query, docs in queries.items() for doc in docs)))


def test_overlap_a_query():
    """a: {1,2,3} and {2,3,4}: 2/4; b: {1} and {}: 0/1; so 0.25. Of A's four negatives B has two, of B's three A has two."""
    found = overlaps({"A": chosen(a="123", b="1"), "B": chosen(a="234", b=""), "none": chosen(a="", b="")})
    assert found["A"]["B"].jaccard == found["B"]["A"].jaccard == pytest.approx(0.25)
    assert found["A"]["B"].share == pytest.approx(0.5)
    assert found["B"]["A"].share == pytest.approx(2 / 3)
    assert list(found["A"]) == ["B", "none"]
    assert (found["none"]["A"].share, found["none"]["A"].jaccard) == (0.0, 0.0)


def test_a_recipe_alone_and_recipes_without_negatives():
    assert overlaps({"A": chosen(a="1")}) == {"A": {}}
    empty = overlaps({"A": chosen(a=""), "B": chosen(a="")})
    assert (empty["A"]["B"].jaccard, empty["A"]["B"].share) == (0.0, 0.0)


def test_pairs_are_distinct_over_stages_and_leave_out_what_is_trained_as_relevant():
    selection = decisions(
        ("one", "a", "p", "positive"),
        ("one", "a", "n1", "negative"),
        ("two", "a", "p", "positive"),
        ("two", "a", "n1", "negative"),
        ("two", "a", "n2", "negative", {"label": 0.5}),
    )
    assert negative_pairs(selection).to_pylist() == [{"query_id": "a", "doc_id": "n1"}]
