import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.models.batches import plan, rows_of
from tasks.models.texts import fill_template


@pytest.mark.parametrize(("length", "rows"), [(1, 256), (3, 64), (16, 16), (17, 8), (128, 2), (129, 1), (256, 1), (999, 1)])
def test_rows_depend_on_the_length_alone(length, rows):
    assert rows_of(length, 256) == rows


def test_plan_by_hand():
    batches = plan(np.array([5, 9, 5, 5, 9, 2]), 10)
    assert [(batch.length, batch.rows, batch.indices.tolist()) for batch in batches] == [
        (9, 1, [1]),
        (9, 1, [4]),
        (5, 2, [0, 2]),
        (5, 2, [3]),
        (2, 4, [5]),
    ]


def test_nothing_to_do():
    assert plan(np.empty(0, dtype=np.int64), 10) == []


@given(st.lists(st.integers(1, 300)), st.integers(1, 5000))
def test_every_input_once_and_one_length_a_batch(lengths, budget):
    array = np.array(lengths, dtype=np.int64)
    batches = plan(array, budget)
    assert sorted(row for batch in batches for row in batch.indices.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert set(array[batch.indices]) == {batch.length}
        assert len(batch.indices) <= batch.rows
        assert batch.rows == 1 or batch.rows * batch.length <= budget


def test_templates():
    assert fill_template("{title} {text}", ["T", "", None], ["a", "b", "c"]) == ["T a", "b", "c"]
    assert fill_template("{title}|{text}", ["{text}"], ["x{title}"]) == ["{text}|x{title}"]
    assert fill_template("{text}", ["T"], [None]) == [""]
