import pyarrow as pa
import pytest

from tasks.truth.slices import rates, slices

QUERIES = pa.table(
    {
        "query_id": ["q1", "q2", "q3"],
        "text": ["one two", " a b c d ", "x"],
        "positives": [1, 3, 0],
        "positive_rank": pa.array([1, 7, None], pa.int32()),
        "language": ["en", None, "en"],
    }
)


def test_each_query_is_in_one_value_of_each_slice():
    found = slices(QUERIES)
    rows = [(row["slice"], row["value"], row["query_id"]) for row in found.to_pylist()]
    assert rows == [
        ("all", "all", "q1"),
        ("all", "all", "q2"),
        ("all", "all", "q3"),
        ("difficulty", "rank 1", "q1"),
        ("difficulty", "rank 6–20", "q2"),
        ("difficulty", "not retrieved", "q3"),
        ("language", "en", "q1"),
        ("language", "en", "q3"),
        ("language", "unknown", "q2"),
        ("length", "up to 3 words", "q1"),
        ("length", "up to 3 words", "q3"),
        ("length", "4–7 words", "q2"),
        ("positives", "none", "q3"),
        ("positives", "1", "q1"),
        ("positives", "2–4", "q2"),
    ]


@pytest.mark.parametrize(("words", "value"), [(3, "up to 3 words"), (4, "4–7 words"), (15, "8–15 words"), (16, "16 words or more")])
def test_edges_of_length(words, value):
    table = pa.table({"query_id": ["q"], "text": ["w " * words], "positives": [1], "positive_rank": [101]})
    found = {row["slice"]: row["value"] for row in slices(table).to_pylist()}
    assert found == {"all": "all", "length": value, "positives": "1", "difficulty": "rank over 100"}


def test_rates():
    counts = pa.table({"query_id": ["q1", "q1", "q2", "q3"], "numerator": [1, 1, 0, 0], "denominator": [2, 2, 4, 0]})
    found = {(one.slice, one.value): one for one in rates(counts, slices(QUERIES))}
    # q1: 2 of 4; q2: 0 of 4; q3 has no pairs and is in no rate
    assert found["all", "all"].rate.estimate == 0.25
    assert found["all", "all"].queries == 2
    assert found["difficulty", "rank 1"].rate.estimate == 0.5
    assert ("difficulty", "not retrieved") not in found
    assert found["language", "en"].rate.estimate == 0.5
    assert all(one.small for one in found.values())
    assert rates(counts.slice(3), slices(QUERIES)) == []


def test_thirty_queries_are_not_small():
    names = [f"q{number:02}" for number in range(30)]
    queries = pa.table({"query_id": names, "text": ["w"] * 30, "positives": [1] * 30, "positive_rank": [1] * 29 + [2]})
    counts = pa.table({"query_id": names, "numerator": [0] * 30, "denominator": [5] * 30, "group": ["g", "g", *[None] * 28]})
    found = {(one.slice, one.value): one for one in rates(counts, slices(queries))}
    assert not found["all", "all"].small
    assert found["difficulty", "rank 1"].small
    assert found["all", "all"].rate.n_clusters == 29  # the first two are one group
