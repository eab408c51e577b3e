"""Features that compare a candidate with the positives of its query."""

import numpy as np
import pytest

from tasks.features.nearest import by_partition, cosines, dots, join
from tasks.features.task import features
from tests.features.world import of_query, values, world
from tests.retrieve.build import context

PARTITIONS = pytest.mark.parametrize("parts", [1, 3])


def found(tmp_path, name, docs, queries, rows, parts=1, **settings):
    setting = context(tmp_path)
    inputs = world(setting.storage, docs, queries, rows, doc_parts=parts, query_parts=parts)
    manifest = features(setting, {name: settings}, inputs)[name]
    return values(setting.storage, inputs, manifest)


def candidates(query, names, positives=""):
    return [{"query_id": query, "doc_id": name, "is_positive": name in positives} for name in names]


@PARTITIONS
def test_containment(tmp_path, parts):
    """Shingles of three words. p has {123, 234, 345, 456, 567}; b is p; c has {123, 234}, all of it in p: estimated from a Jaccard
    index of 2/5, with a standard error of 0.04; d has none; e has no words; r is another positive whose text is d's."""
    texts = {"p": "one two three four five six seven", "b": "ONE two three, four five six seven", "c": "one two three four",
             "d": "nothing of that at all", "e": "...", "r": "nothing of that at all"}  # fmt: skip
    docs = [{"doc_id": name, "text": text} for name, text in texts.items()]
    rows = candidates("q", "pbcde", "p") + candidates("r", "pbdr", "pr") + candidates("s", "pb")
    column = found(tmp_path, "containment", docs, [{"query_id": name} for name in "qrs"], rows, parts)["positive_containment"]
    first = of_query(column, "q")
    assert (first["p"], first["b"], first["d"], first["e"]) == (None, 1.0, 0.0, 0.0)
    assert 0.7 < first["c"] <= 1
    assert of_query(column, "r") == {"p": None, "b": 1.0, "d": 1.0, "r": None}
    assert of_query(column, "s") == {"p": None, "b": None}


def test_containment_by_words(tmp_path):
    """With shingles of one word, a text in another order is a copy."""
    docs = [{"doc_id": "p", "text": "one two three"}, {"doc_id": "a", "text": "three one two"}]
    for size, expected in ((1, 1.0), (3, 0.0)):
        column = found(tmp_path, "containment", docs, [{"query_id": "q"}], candidates("q", "pa", "p"), shingle=size)["positive_containment"]
        assert column[("q", "a")] == expected


@PARTITIONS
def test_positive_score(tmp_path, parts):
    """Positives (1, 0) and (0, 2). d at (3, 4): 3 and 8, the larger is 8. n at (-1, -1): -1 and -2, the larger is -1. Not cosines."""
    vectors = {"p": (1, 0), "r": (0, 2), "d": (3, 4), "n": (-1, -1)}
    docs = [{"doc_id": name, "vector": vector} for name, vector in vectors.items()]
    rows = candidates("q", "prdn", "pr") + candidates("s", "dn", "d") + candidates("t", "pd")
    column = found(tmp_path, "positive-score", docs, [{"query_id": name} for name in "qst"], rows, parts)["positive_document_score"]
    assert of_query(column, "q") == {"p": None, "r": None, "d": 8.0, "n": -1.0}
    assert of_query(column, "s") == {"d": None, "n": -7.0}
    assert of_query(column, "t") == {"p": None, "d": None}


def test_products_of_a_row_do_not_depend_on_the_others():
    random = np.random.default_rng(0)
    left, right = (random.standard_normal((9_000, 37)).astype(np.float32) for _ in range(2))
    whole = dots(left, right)
    assert (whole[5_000:5_003] == dots(left[5_000:5_003], right[5_000:5_003])).all()
    assert (whole[8_999:] == dots(left[8_999:], right[8_999:])).all()
    assert np.abs(whole - (left.astype(np.float64) * right).sum(axis=1)).max() < 1e-12
    assert cosines(left[:1], left[:1]).tolist() == [pytest.approx(1)]


def test_blocks_by_partition():
    address = join([2, 0, 2, 0, 2], [5, 1, 3, 0, 4])
    blocks = [(number, places.tolist(), rows.tolist()) for number, places, rows in by_partition(address, 2)]
    assert blocks == [(0, [1, 3], [1, 0]), (2, [0, 2], [5, 3]), (2, [4], [4])]
    assert list(by_partition(join([], []))) == []


@PARTITIONS
def test_context(tmp_path, parts):
    """p and a lie in book, b in play; n and the positive m have no parent."""
    parents = {"p": "book", "a": "book", "b": "play", "n": None, "m": None}
    docs = [{"doc_id": name, "group_id": parent, "position": place + 10} for place, (name, parent) in enumerate(parents.items())]
    rows = candidates("q", "pabn", "p") + candidates("r", "abm", "m") + candidates("s", "pabm", "pm") + candidates("t", "a")
    table = found(tmp_path, "context", docs, [{"query_id": name} for name in "qrst"], rows, parts)
    assert of_query(table["group_id"], "q") == {"p": "book", "a": "book", "b": "play", "n": None}
    assert of_query(table["group_position"], "q") == {"p": 10, "a": 11, "b": 12, "n": 13}
    assert of_query(table["in_positive_group"], "q") == {"p": True, "a": True, "b": False, "n": None}
    assert of_query(table["in_positive_group"], "r") == {"a": None, "b": None, "m": None}
    assert of_query(table["in_positive_group"], "s") == {"p": True, "a": True, "b": False, "m": None}
    assert of_query(table["in_positive_group"], "t") == {"a": None}


@PARTITIONS
def test_size(tmp_path, parts):
    """Two words in "The End", three in "One-two  three!"; an underscore joins; punctuation alone is none."""
    docs = [
        {"doc_id": "a", "title": "The End", "text": "One-two  three!", "language": "en"},
        {"doc_id": "b", "title": "", "text": "a_b ﬁ ...", "language": None},
        {"doc_id": "c", "title": "?", "text": "", "language": "de"},
    ]
    queries = [{"query_id": "q", "language": "fr"}, {"query_id": "r"}]
    table = found(tmp_path, "size", docs, queries, candidates("q", "abc") + candidates("r", "a"), parts)
    assert of_query(table["doc_tokens"], "q") == {"a": 5, "b": 2, "c": 0}
    assert of_query(table["doc_language"], "q") == {"a": "en", "b": None, "c": "de"}
    assert (of_query(table["query_language"], "q"), of_query(table["query_language"], "r")) == (dict.fromkeys("abc", "fr"), {"a": None})
