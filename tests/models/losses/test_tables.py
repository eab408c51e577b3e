import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import InputError, ModelError
from tasks.models.losses.tables import PairScores, PairTable, Rows

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 8)), max_size=30)


def codes(*values):
    return np.array(values, dtype=np.int64)


@given(PAIRS)
def test_a_pair_is_in_the_table_or_not(pairs):
    left, right = np.array([*pairs, (0, 0)], dtype=np.int64)[:-1].T
    table = PairTable(left, right, stride=9)
    found = table.contains(torch.arange(7), torch.arange(-1, 9))
    assert [(q, d - 1) for q, d in found.nonzero().tolist()] == sorted(set(pairs))


def test_each_query_with_its_own_documents():
    table = PairTable(codes(0, 1), codes(2, 0), stride=3)
    assert table.contains(torch.tensor([0, 1]), torch.tensor([[2, 0], [2, 0]])).tolist() == [[True, False], [False, True]]


def test_no_document_is_in_no_pair():
    """Without a check -1 would stand for the last document of the query before: 1 · 3 − 1 = 0 · 3 + 2."""
    table = PairTable(codes(0), codes(2), stride=3)
    assert table.contains(torch.tensor([1]), torch.tensor([-1])).tolist() == [[False]]


def test_scores_of_pairs():
    table = PairScores(codes(1, 0, 1), codes(2, 1, 2), np.array([0.5, 1.5, 9.0], np.float32), stride=3)
    found = table(torch.tensor([0, 1]), torch.tensor([1, 2]))
    assert found.nan_to_num(-1).tolist() == [[1.5, -1], [-1, 0.5]]
    nothing = PairScores(codes(), codes(), np.empty(0, np.float32), stride=3)
    assert nothing(torch.tensor([0]), torch.tensor([1])).isnan().all()


def test_rows_from_ids():
    rows = Rows.from_ids(
        ["q", "r", "q"],
        np.array([["a", "b"], ["c", None], ["b", "d"]], dtype=object),
        positives=(["q", "r", "x", "q"], ["c", "zz", "a", "d"]),  # zz is in no row, x has no row
        suspected=(["r"], ["d"]),
        values={"teacher": np.array([[1, 2], [3, np.nan], [5, 6]], np.float32)},
    )
    assert rows.queries.tolist() == [0, 1, 0]
    assert rows.documents.tolist() == [[0, 1], [2, -1], [1, 3]]
    assert rows.columns(torch.tensor([2, 1]), 2).tolist() == [1, 2, 3, -1]  # the positives, then the negatives
    everything = torch.arange(4)
    # q: its positives a and b, c and d by the qrels; r: its positive c
    assert rows.positives.contains(torch.tensor([0, 1]), everything).tolist() == [[True, True, True, True], [False, False, True, False]]
    assert rows.relevant(torch.tensor([1]), everything).tolist() == [[False, False, True, True]]
    assert rows.value("teacher", torch.tensor([2])).tolist() == [[5, 6]]


def test_codes_are_places_in_the_index():
    rows = Rows.from_ids(["q"], np.array([["b", "c"]], dtype=object), documents=["a", "b", "c", "d"])
    assert rows.documents.tolist() == [[1, 2]]
    assert rows.positives.stride == 4


def test_what_is_wrong_is_said():
    with pytest.raises(InputError, match="row 1 has no positive"):
        Rows.from_ids(["q", "r"], np.array([["a"], [None]], dtype=object))
    with pytest.raises(InputError, match="'b' of a training row is not in the index"):
        Rows.from_ids(["q"], np.array([["b"]], dtype=object), documents=["a"])
    rows = Rows.from_ids(["q"], np.array([["a", "b"]], dtype=object))
    with pytest.raises(ModelError, match="needs 'teacher'"):
        rows.value("teacher", torch.tensor([0]))
    with pytest.raises(ModelError, match="3 document columns, its rows 2"):
        rows.columns(torch.tensor([0]), 3)
    with pytest.raises(ModelError, match="'weight' have shape"):
        Rows.from_ids(["q"], np.array([["a"]], dtype=object), values={"weight": np.ones((1, 2), np.float32)})


def test_tables_are_no_state():
    rows = Rows.from_ids(["q"], np.array([["a", "b"]], dtype=object), values={"weight": np.ones((1, 2), np.float32)})
    assert rows.state_dict() == {}
    assert {name for name, _ in rows.named_buffers()} == {"queries", "documents", "value_weight", "positives.pairs", "suspected.pairs"}
