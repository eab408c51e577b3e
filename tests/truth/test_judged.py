import pyarrow as pa
import pytest

from tasks.errors import InputError
from tasks.truth.judged import judged, suspect_share, suspect_zeros, unknown_zeros

QRELS = pa.table(
    {
        "query_id": ["q1", "q1", "q1", "q2", "q3"],
        "doc_id": ["a", "b", "c", "a", "a"],
        "relevance": pa.array([2, 1, 0, 1, 0], pa.int32()),
    }
)
NEGATIVES = pa.table({"query_id": ["q1", "q1", "q1", "q2", "q9"], "doc_id": ["b", "c", "x", "b", "a"]})


def test_exhaustive():
    # q9 is not judged; of (q1, b) (q1, c) (q1, x) (q2, b) only the first is relevant
    found = judged(NEGATIVES, QRELS, "both", "top")
    assert (found.emitted, found.judged, found.relevant, found.queries) == (4, 4, 1, 2)
    assert found.rate.estimate == 0.25
    # (q1, c) is an explicit zero: unknown, unless zeros are trusted
    found = judged(NEGATIVES, QRELS, "exhaustive", "top")
    assert (found.emitted, found.judged, found.relevant, found.queries) == (4, 3, 1, 2)
    assert unknown_zeros(QRELS, "exhaustive").to_pylist() == [{"query_id": "q1", "doc_id": "c"}, {"query_id": "q3", "doc_id": "a"}]
    assert unknown_zeros(QRELS, "both").num_rows == unknown_zeros(QRELS, "trusted_zeros").num_rows == 0
    # from grade 0 on all is relevant: (q1, b) and (q1, c), of four
    everything = judged(NEGATIVES, QRELS, "exhaustive", "top", min_grade=0)
    assert (everything.judged, everything.relevant) == (4, 2)


def test_zeros_count_only_what_is_listed():
    # (q1, b) and (q1, c) are listed
    found = judged(NEGATIVES, QRELS, "trusted_zeros", "top")
    assert (found.emitted, found.judged, found.relevant, found.rate.estimate) == (4, 2, 1, 0.5)


def test_min_grade_and_judged_queries():
    assert judged(NEGATIVES, QRELS, "exhaustive", "top", min_grade=2).relevant == 0
    only = judged(NEGATIVES, QRELS, "exhaustive", "top", queries=pa.table({"query_id": ["q2", "q9"]}))
    assert (only.judged, only.relevant) == (2, 0)


def test_groups_are_clusters():
    table = NEGATIVES.append_column("group", pa.array(["g", "g", "g", "g", None]))
    assert judged(table, QRELS, "exhaustive", "top").rate.n_clusters == 1


def test_nothing_judged():
    with pytest.raises(InputError, match="'top' is judged"):
        judged(NEGATIVES.slice(4), QRELS, "exhaustive", "top")
    with pytest.raises(InputError, match="is judged"):
        judged(NEGATIVES.slice(2), QRELS, "trusted_zeros", "top")


def scored(*rows):
    names = ("query_id", "doc_id", "relevance", "is_positive", "dense_rank", "dense_score")
    types = (pa.string(), pa.string(), pa.int32(), pa.bool_(), pa.int32(), pa.float32())
    return pa.Table.from_pylist(
        [dict(zip(names, row, strict=True)) for row in rows], schema=pa.schema(list(zip(names, types, strict=True)))
    )


def test_suspect_zeros():
    table = scored(
        ("q1", "zero", 0, False, 1, 0.9),  # best rank, above the positive
        ("q1", "pos", 1, True, 5, 0.5),
        ("q1", "mid", 0, False, 4, 0.75),  # above the positive only
        ("q1", "low", 0, False, 80, 0.25),  # an honest zero
        ("q1", "free", None, False, 2, 0.8),  # not judged
        ("q2", "zero", 0, False, 2, 0.6),  # high; the query has no positive
        ("q3", "pos", 1, True, 1, 0.9),
        ("q3", "zero", 0, False, 3, 0.7),  # high, under the positive
        ("q4", "zero", 0, False, None, 0.1),  # not retrieved
    )
    found = suspect_zeros(table, max_rank=3)
    assert list(zip(found["query_id"].to_pylist(), found["doc_id"].to_pylist(), found["why"].to_pylist(), strict=True)) == [
        ("q1", "zero", "rank, above positives"),
        ("q1", "mid", "above positives"),
        ("q3", "zero", "rank"),
        ("q2", "zero", "rank"),
    ]
    assert found["best_positive"].to_pylist() == [0.5, 0.5, pytest.approx(0.9), None]
    assert suspect_share(table, 3) == (4, 6)
