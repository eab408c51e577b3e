"""Who stands in a batch with whom: counted by hand, and looked at pair by pair."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.mixture.arrange import arranged, clashing
from tasks.mixture.texts import Corpus


def corpus(positives, documents=60, same=()):
    """Documents d0 … and the queries of ``positives`` (name: documents); ``same``: pairs of documents with one text."""
    names = [f"d{number}" for number in range(documents)]
    texts = {name: f"text of {name}" for name in names} | {other: f"text of {one}" for one, other in same}
    return Corpus.of(
        pa.table({"doc_id": names, "norm_hash": [texts[name] for name in names]}),
        pa.table({"query_id": list(positives), "norm_hash": [f"text of {name}" for name in positives]}),
        pa.table(
            {
                "query_id": pa.array([name for name, given in positives.items() for _ in given], pa.string()),
                "doc_id": pa.array([each for given in positives.values() for each in given], pa.string()),
            }
        ),
    )


def rows(*given):
    """A sidecar of (query, positive, negatives …)."""
    lists = pa.list_(pa.string())
    return pa.table(
        {
            "query_id": pa.array([query for query, *_ in given], pa.string()),
            "positive_ids": pa.array([[one] for _, one, *_ in given], lists),
            "negative_ids": pa.array([list(rest) for _, _, *rest in given], lists),
        }
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([("a", "d0"), ("a", "d1")], [0, 1]),  # one query twice
        ([("a", "d0"), ("b", "d1")], [0]),  # d1 is the other positive of a; a's rows are nothing to b
        ([("a", "d0"), ("c", "d3", "d1")], [0]),  # so it is as a negative of another row
        ([("a", "d0"), ("c", "d3", "d9")], [0]),  # and under another id: d9 has the text of d1
        ([("b", "d1"), ("d", "d4", "d5")], []),
        ([("e", "d6"), ("b", "d1", "d6")], [0]),  # labelled nowhere, but the positive of its row
        ([("a", "written:1"), ("b", "d2", "written:1")], [0]),  # a document that is not of the corpus goes by its id
    ],
)
def test_rows_that_clash(given, expected):
    known = corpus({"a": ["d0", "d1"], "b": ["d2"], "c": ["d3"], "d": ["d4"], "e": []}, same=[("d1", "d9")])
    assert clashing(known.entries(rows(*given)), np.zeros(2, dtype=np.int64)).tolist() == expected
    assert clashing(known.entries(rows(*given)), np.arange(2)).tolist() == []


def met(sidecar, order, size):
    """Rows that clash, by looking at each pair of each batch."""
    found, labelled = set(), {}
    for row in sidecar.to_pylist():
        labelled.setdefault(row["query_id"], set()).update(row["positive_ids"])
    for start in range(0, len(order), size):
        batch = [(int(number), sidecar.slice(int(number), 1).to_pylist()[0]) for number in order[start : start + size]]
        for number, row in batch:
            others = [other for place, other in batch if place != number]
            wanted = labelled[row["query_id"]]
            if any(other["query_id"] == row["query_id"] or wanted & {*other["positive_ids"], *other["negative_ids"]} for other in others):
                found.add(number)
    return found


@pytest.fixture(scope="module")
def crowded():
    """60 queries with 4 positives and rows side by side, as files have them; negatives among others' positives."""
    generator = np.random.default_rng(0)
    positives = {f"q{number}": [f"d{one}" for one in generator.choice(400, 4, replace=False)] for number in range(60)}
    given = [
        (query, one, *(f"d{each}" for each in generator.choice(400, 2, replace=False) if f"d{each}" not in documents))
        for query, documents in positives.items()
        for one in documents
    ]
    return corpus(positives, 400), rows(*given)


def test_rows_are_parted_and_each_comes_once(crowded):
    known, sidecar = crowded
    entries, passes = known.entries(sidecar), np.zeros(240, dtype=np.int64)
    assert len(clashing(entries, np.arange(240) // 12)) == 240, "as they lie, all of them clash"
    order, left = arranged(entries, passes, 12, (0, 0))
    assert sorted(order.tolist()) == list(range(240))
    assert (left, met(sidecar, order, 12)) == (0, set())
    assert arranged(entries, passes, 12, (0, 0))[0].tolist() == order.tolist()
    other, left = arranged(entries, passes, 12, (1, 0))
    assert left == 0
    assert other.tolist() != order.tolist()


def test_what_the_rows_do_not_allow_is_counted(crowded):
    known, sidecar = crowded
    order, left = arranged(known.entries(sidecar), np.zeros(240, dtype=np.int64), 120, (0, 0))
    assert left == len(met(sidecar, order, 120)) > 0, "60 queries are fewer than 120 rows"
    few = rows(("q0", "d1"), ("q0", "d1"), ("q1", "d2"), ("q1", "d2"))
    assert arranged(corpus({"q0": ["d1"], "q1": ["d2"]}).entries(few), np.zeros(4, dtype=np.int64), 4, (0,))[1] == 4


def test_own_texts_are_parted_even_where_negatives_cannot_be():
    """Eight documents are the positives and the negatives of all: each row clashes, but no positive has to stand on two rows."""
    generator = np.random.default_rng(1)
    positives = {f"q{number}": [f"d{number % 8}"] for number in range(24)}
    sidecar = rows(
        *((query, one, *(f"d{each}" for each in generator.permutation(8)[:4] if f"d{each}" != one)) for query, (one,) in positives.items())
    )
    order, left = arranged(corpus(positives, 8).entries(sidecar), np.zeros(24, dtype=np.int64), 8, (0,))
    assert left == 24
    for start in range(0, 24, 8):
        assert len({sidecar["positive_ids"][int(each)].as_py()[0] for each in order[start : start + 8]}) == 8


@pytest.mark.parametrize(("size", "times"), [(4, 4), (5, 3), (3, 8)])
def test_rows_that_are_read_again_come_to_other_batches(size, times):
    names = [f"q{number}" for number in range(5)]
    known = corpus({name: [f"d{number}"] for number, name in enumerate(names)})
    one = rows(*((name, f"d{number}") for number, name in enumerate(names)))
    count = 5 * times // size * size
    sidecar, passes = pa.concat_tables([one] * times).slice(0, count).combine_chunks(), (np.arange(count) // 5)
    order, left = arranged(known.entries(sidecar), passes, size, (0,))
    assert left == 0
    for start in range(0, count, size):
        batch = [sidecar["query_id"][int(each)].as_py() for each in order[start : start + size]]
        assert len(set(batch)) == size


def test_no_rows_share_anything():
    order, left = arranged(corpus({"a": ["d0"], "b": ["d1"]}).entries(rows(("a", "d0"), ("b", "d1"))), np.zeros(2, dtype=np.int64), 1, (0,))
    assert (sorted(order.tolist()), left) == ([0, 1], 0)
