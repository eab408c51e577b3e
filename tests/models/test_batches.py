import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.models.batches import padded, plan, rows_of
from tasks.templates import templated


@pytest.mark.parametrize(("length", "rows"), [(1, 256), (3, 64), (16, 16), (17, 8), (128, 2), (129, 1), (256, 1), (999, 1)])
def test_rows_depend_on_the_length_alone(length, rows):
    assert rows_of(length, 256) == rows


def test_plan_by_hand():
    """Lengths 20, 40 and up to 16 are padded to 32, 40 (the limit) and 16; 64 tokens make 2, 1 and 4 rows."""
    batches = plan(np.array([5, 40, 16, 20, 40, 2, 1, 3]), 64, limit=40)
    assert [(batch.length, batch.rows, batch.indices.tolist()) for batch in batches] == [
        (40, 1, [1]),
        (40, 1, [4]),
        (32, 2, [3]),
        (16, 4, [0, 2, 5, 6]),
        (16, 4, [7]),
    ]


def test_nothing_to_do():
    assert plan(np.empty(0, dtype=np.int64), 10, 512) == []


@given(st.lists(st.integers(1, 300)), st.integers(1, 5000))
def test_every_input_once_and_one_length_a_batch(lengths, budget):
    array = np.array(lengths, dtype=np.int64)
    batches = plan(array, budget, 512)
    assert sorted(row for batch in batches for row in batch.indices.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert set(padded(array[batch.indices], 512)) == {batch.length}
        assert len(batch.indices) <= batch.rows
        assert batch.rows == 1 or batch.rows * batch.length <= budget


def test_templates():
    def filled(template, titles, texts):
        columns = {"title": pa.array(titles, pa.string()), "text": pa.array(texts, pa.string())}
        return templated(pa.table(columns), template).to_pylist()

    assert filled("{title} {text}", ["T", "", None], ["a", "b", "c"]) == ["T a", "b", "c"]
    assert filled("{title}|{text}", ["{text}"], ["x{title}"]) == ["{text}|x{title}"]
    assert filled("{text}", ["T"], [None]) == [""]
