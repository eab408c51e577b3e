"""What later stages make of reviewed and promoted labels: teachers, calibration, selections, suspect zeros."""

import pyarrow as pa

from tasks.schema import PAIRS, candidates
from tasks.select.recipe import Recipe
from tasks.select.stage import select
from tasks.train.teacher import as_labelled
from tasks.truth.held_out import labelled_pairs
from tasks.truth.judged import unreviewed
from tests.select.tables import table

# document, grade, whether it is a positive, whose label it is
LABELS = [
    ("own", 1, True, None),
    ("zero", 0, False, None),
    ("yes", 1, True, "reviewed"),
    ("no", 0, False, "reviewed"),
    ("pseudo", 1, True, "promoted"),
    ("free", None, False, None),
]


def labelled():
    rows = [
        {
            "query_id": "q",
            "doc_id": doc,
            "relevance": grade,
            "is_positive": positive,
            "planted": False,
            "provenance": whose,
            "dense_rank": rank,
        }
        | {"query_hash": "q", "doc_hash": doc}
        for rank, (doc, grade, positive, whose) in enumerate(LABELS, 1)
    ]
    schema = candidates(["dense"])
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema)


def test_a_teacher_does_not_see_queries_that_measure():
    table = labelled()
    assert not any(as_labelled(table, table["query_id"].slice(0, 0))["is_positive"].to_pylist())


def test_a_teacher_learns_peoples_labels():
    table = labelled()
    found = as_labelled(table, table["query_id"])
    told = {row["doc_id"]: (row["relevance"], row["is_positive"]) for row in found.to_pylist()}
    assert told == {
        "own": (1, True),
        "zero": (0, False),  # neither positive nor negative
        "yes": (1, True),
        "no": (None, False),  # may be drawn as a negative
        "pseudo": (1, False),  # neither
        "free": (None, False),
    }
    assert found.column_names == labelled().column_names


def test_a_calibration_sees_no_promoted_pair():
    logits = [{"query_hash": "q", "doc_hash": doc, "logit": float(at)} for at, (doc, *_) in enumerate(LABELS)]
    asked = pa.table({"query_id": ["q"], "fold": [0]})
    found = labelled_pairs(labelled(), pa.Table.from_pylist(logits, PAIRS), asked, ["dense"], 50, 100)
    by_logit = dict(zip(found.score.tolist(), found.label.tolist(), strict=True))
    assert by_logit == {0.0: True, 2.0: True, 3.0: False, 5.0: False}  # own, yes; no, free
    alone = labelled().filter(pa.array([False, False, False, False, True, True]))
    found = labelled_pairs(alone, pa.Table.from_pylist(logits, PAIRS), asked, ["dense"], 50, 100)
    assert len(found.score) == 0  # a query whose only positive was promoted has no labelled one


def test_a_trusted_zero_may_be_a_negative():
    rows = [
        {"doc_id": doc, "relevance": grade, "is_positive": positive, "provenance": whose, "dense_score": 0.5, "dense_rank": rank}
        for rank, (doc, grade, positive, whose) in enumerate(LABELS, 1)
    ]
    decisions, _ = select(table(rows), Recipe(num_negatives=5), ["dense", "bm25"], 0, "s")
    assert {row["doc_id"]: (row["decision"], row["reason"]) for row in decisions.to_pylist()} == {
        "own": ("positive", "labelled_positive"),
        "zero": ("rejected", "labelled"),
        "yes": ("positive", "labelled_positive"),
        "no": ("negative", "drawn"),
        "pseudo": ("positive", "labelled_positive"),
        "free": ("negative", "drawn"),
    }


def test_a_trusted_zero_is_not_suspect():
    assert unreviewed(labelled())["doc_id"].to_pylist() == ["own", "zero", "yes", "pseudo", "free"]
