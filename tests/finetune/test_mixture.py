"""What is masked in a mixture's batches."""

import numpy as np

from tasks.finetune.mixture import _pairs, _Rows


def words(*given):
    return np.array(given, dtype=object)


def test_a_suspect_is_masked_under_every_prompt_that_it_stands_under():
    """Document c of one dataset is searched by another: it has the name of its text with the prompt of either."""
    rows = _Rows(
        query_ids=words("a", "b", "x"),
        queries=words("a", "b", "x"),
        documents=np.array([["m: p", "m: n"], ["m: r", "m: c"], ["c", "n"]], dtype=object),
        ids=np.array([["p", "n"], ["r", "c"], ["c", "n"]], dtype=object),
        values={},
        suspects=[("a", ["c", "n", "gone"]), ("b", []), ("x", [])],
        batch=np.array([0, 0, 1]),
    )
    names = words("P", "mN", "R", "mC", "C", "N")
    documents = np.array([[0, 1], [2, 3], [4, 5]])
    hashes = {"a": "A", "b": "B", "x": "X"}
    positives, suspected = _pairs(rows, words("A", "B", "X"), names[documents[:, 0]], names, documents, hashes)
    assert set(zip(*positives, strict=True)) == {("A", "P"), ("B", "R"), ("X", "C")}
    assert set(zip(*suspected, strict=True)) == {("A", "mC"), ("A", "C"), ("A", "N")}, "mN is the row's own negative"
