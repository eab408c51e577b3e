import pyarrow as pa
import pytest

from tasks.review.sample import SAMPLE, Drawn, Origin, Stratum


@pytest.fixture
def origin():
    strata = (Stratum(number=0, size=10, draws=2), Stratum(number=1, size=2, draws=1))
    drawn = tuple(Drawn(selection_id=f"id-{name}", recipe=name, key=f"key-{name}") for name in ("a", "b"))
    return Origin(dataset="tiny", round=3, candidate_set_id="abc", seed=7, budget=3, strata=strata, selections=drawn)


@pytest.fixture
def sample():
    rows = [
        {"query_id": "q1", "doc_id": "d1", "query": "=SUM(A1)", "title": "", "text": 'one, "two"\nthree', "positives": ["+1", "x"],
         "stratum": 0, "inclusion": 0.2, "teacher_score": 1.5, "dense_rank": 4, "dense_score": 0.75, "recipes": ["a", "b"]},
        {"query_id": "q1", "doc_id": "d2", "query": "=SUM(A1)", "title": "T", "text": "'=quoted", "positives": ["+1", "x"],
         "stratum": 1, "inclusion": 0.5, "teacher_score": None, "dense_rank": None, "dense_score": None, "recipes": ["b"]},
        {"query_id": "-q2", "doc_id": "@d1", "query": "ünïcode", "title": None, "text": "; and\ttab", "positives": [],
         "stratum": 0, "inclusion": 0.2, "teacher_score": -2.0, "dense_rank": 1, "dense_score": 0.5, "recipes": []},
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=SAMPLE)
