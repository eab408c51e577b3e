import pyarrow as pa
import pytest

from tasks.truth.judged import judgements, suspect_share, suspect_zeros, unknown_zeros

QRELS = pa.table(
    {
        "query_id": ["q1", "q1", "q1", "q2", "q3"],
        "doc_id": ["a", "b", "c", "a", "a"],
        "relevance": pa.array([2, 1, 0, 1, 0], pa.int32()),
    }
)
NEGATIVES = pa.table({"query_id": ["q1", "q1", "q1", "q2", "q9"], "doc_id": ["b", "c", "x", "b", "a"]})


def counted(negatives, *arguments, **more):
    """How many of the negatives are judged, how many of them are relevant, and of how many queries they are."""
    found = judgements(negatives, *arguments, **more)
    return found.num_rows, sum(found["relevant"].to_pylist()), len(found["query_id"].unique())


def test_exhaustive():
    # q9 is not judged; of (q1, b) (q1, c) (q1, x) (q2, b) only the first is relevant
    assert counted(NEGATIVES, QRELS, "both") == (4, 1, 2)
    # (q1, c) is an explicit zero: unknown, unless zeros are trusted
    assert counted(NEGATIVES, QRELS, "exhaustive") == (3, 1, 2)
    assert unknown_zeros(QRELS, "exhaustive").to_pylist() == [{"query_id": "q1", "doc_id": "c"}, {"query_id": "q3", "doc_id": "a"}]
    assert unknown_zeros(QRELS, "both").num_rows == unknown_zeros(QRELS, "trusted_zeros").num_rows == 0
    # from grade 0 on all is relevant: (q1, b) and (q1, c), of four
    assert counted(NEGATIVES, QRELS, "exhaustive", min_grade=0)[:2] == (4, 2)


def test_zeros_count_only_what_is_listed():
    # (q1, b) and (q1, c) are listed
    assert counted(NEGATIVES, QRELS, "trusted_zeros") == (2, 1, 1)


def test_min_grade_and_judged_queries():
    assert counted(NEGATIVES, QRELS, "exhaustive", min_grade=2)[1] == 0
    assert counted(NEGATIVES, QRELS, "exhaustive", queries=pa.table({"query_id": ["q2", "q9"]}))[:2] == (2, 0)


def test_nothing_judged():
    assert counted(NEGATIVES.slice(4), QRELS, "exhaustive")[0] == counted(NEGATIVES.slice(2), QRELS, "trusted_zeros")[0] == 0


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
