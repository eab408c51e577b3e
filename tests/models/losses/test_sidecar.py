import numpy as np
import pyarrow as pa
import pytest
import torch

from tasks.errors import InputError
from tasks.models.losses.sidecar import rows_from_sidecar
from tasks.shards.sidecar import SIDECAR


def sidecar(*rows):
    names = ("query_id", "positive_ids", "negative_ids", "teacher_logits", "labels", "weights", "suspected_ids")
    full = [{"dense_scores": [0.0] * (len(row[1]) + len(row[2])), **dict(zip(names, row, strict=True))} for row in rows]
    return pa.Table.from_pylist(full, schema=SIDECAR)


ROWS = [
    ("q", ["a"], ["b", "c"], [3.0, None, 1.0], [1.0, 0.0, -0.5], [1.0, 0.5, 1.0], ["d"]),
    ("r", ["d"], ["a"], [2.0, 0.5], [1.0, 0.0], [1.0, 1.0], []),
]


def test_rows_in_the_sidecars_order():
    rows = rows_from_sidecar(sidecar(*ROWS), positives=(["r"], ["b"]))
    assert rows.queries.tolist() == [0, 1]
    assert rows.documents.tolist() == [[0, 1, 2], [3, 0, -1]]
    both = torch.tensor([0, 1])
    assert rows.value("teacher", both).nan_to_num(-9).tolist() == [[3, -9, 1], [2, 0.5, -9]]
    assert rows.value("label", both).nan_to_num(-9).tolist() == [[1, 0, -0.5], [1, 0, -9]]
    assert rows.value("weight", both).nan_to_num(-9).tolist() == [[1, 0.5, 1], [1, 1, -9]]
    # q: its positive a, the suspected d; r: its positive d, b by the qrels
    assert rows.relevant(both, torch.arange(4)).tolist() == [[True, False, False, True], [False, True, False, True]]


def test_further_values():
    lexical = np.array([[9, 3, 2], [8, 1, np.nan]], np.float32)
    rows = rows_from_sidecar(pa.concat_tables([sidecar(ROWS[0]), sidecar(ROWS[1])]), values={"lexical": lexical})
    assert rows.value("lexical", torch.tensor([1])).nan_to_num(-9).tolist() == [[8, 1, -9]]


def test_rows_without_negatives():
    rows = rows_from_sidecar(sidecar(("q", ["a"], [], [1.0], [1.0], [1.0], []), ("r", ["b"], [], [1.0], [1.0], [1.0], [])))
    assert rows.documents.tolist() == [[0], [1]]


def test_one_positive_a_row():
    with pytest.raises(InputError, match="row 1 has 2 positives"):
        rows_from_sidecar(sidecar(ROWS[0], ("r", ["d", "e"], [], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [])))
    with pytest.raises(InputError, match="row 0 has 0 positives"):
        rows_from_sidecar(sidecar(("q", [], ["a"], [1.0], [0.0], [1.0], [])))
