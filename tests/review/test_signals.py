import pyarrow as pa
import pytest

from tasks.errors import InputError
from tasks.review.promote import CANDIDATES
from tasks.review.second import read_scores
from tasks.review.settings import PromotionSettings
from tasks.review.signals import COLUMNS, SCORES, signals

KINDS = {
    "query_id": pa.string(), "doc_id": pa.string(), "relevance": pa.int32(), "is_positive": pa.bool_(), "planted": pa.bool_(),
    "copy_of": pa.string(), "norm_copy_of": pa.string(), "provenance": pa.string(),
}  # fmt: skip


def scored(*given):
    """document, logit, calibrated, evidence, what else. The weakest positive's logit is 2, of those that were not promoted."""
    known = [
        ("p1", 2.0, 0.9, None, {}),
        ("p2", 5.0, 0.9, None, {"provenance": "reviewed"}),
        ("p3", 1.0, 0.9, None, {"provenance": "promoted"}),
    ]
    given = [*given, *((*one[:4], one[4] | {"is_positive": True, "relevance": 1}) for one in known)]
    rows = [
        {"query_id": "q", "doc_id": doc, "teacher_logit": logit, "teacher_calibrated": likely, "label_evidence": evidence}
        | {"is_positive": False, "planted": False}
        | (more[0] if more else {})
        for doc, logit, likely, evidence, *more in given
    ]
    return pa.Table.from_pylist(rows, pa.schema([(name, KINDS.get(name, pa.float32())) for name in (*COLUMNS, "label_evidence")]))


def told(table):
    return {row["doc_id"]: sorted(row["signals"]) for row in table.to_pylist()}


def labels(**given):
    return pa.table({"query_id": ["q"] * len(given), "doc_id": list(given), "label": list(given.values())})


def test_each_signal_has_its_threshold():
    table = scored(
        ("a", 3.0, 0.5, 0.75),  # at the threshold of the probability, below that of the evidence
        ("b", 3.0, 0.25, 0.875),
        ("c", 3.0, 0.75, 0.875),
        ("d", None, None, 0.875),  # not scored
        ("e", 3.0, 0.25, 0.5),  # nothing speaks for it
        ("f", 3.0, 0.25, None),
        ("g", None, None, None),
    )
    second = pa.table({"query_id": ["q", "q", "elsewhere"], "doc_id": ["f", "e", "a"], "score": [0.5, 0.25, 1.0]})
    found = signals(table, PromotionSettings(), labels(g="relevant", b="not", c="unsure", e="not"), second)
    assert found.schema == CANDIDATES
    assert told(found) == {
        "a": ["teacher"], "b": ["label_evidence"], "c": ["label_evidence", "teacher"], "d": ["label_evidence"], "f": ["second_teacher"],
        "g": ["review"],
    }  # fmt: skip
    assert {row["doc_id"]: row["against"] for row in found.to_pylist() if row["against"]} == {"b": ["review"]}
    # the teacher's logit; without one the second score, else the evidence
    assert {row["doc_id"]: row["score"] for row in found.to_pylist()} == {"a": 3.0, "b": 3.0, "c": 3.0, "d": 0.875, "f": 3.0, "g": None}
    first = found.slice(0, 1).to_pylist()[0]
    assert (first["teacher_probability"], first["teacher_margin"], first["label_evidence"], first["second_score"]) == (0.5, 1.0, 0.75, None)


def test_the_margin_counts_without_a_calibration_or_where_it_is_asked_for():
    plain = scored(("a", 2.0, None, None), ("b", 1.5, None, None), ("c", 4.0, None, None, {"query_id": "other"}))
    assert told(signals(plain, PromotionSettings())) == {"a": ["teacher"]}
    assert told(signals(plain, PromotionSettings(teacher_margin=-0.5))) == {"a": ["teacher"], "b": ["teacher"]}
    assert told(signals(plain, PromotionSettings(teacher="probability"))) == {}
    calibrated = scored(("a", 2.0, 0.25, None), ("b", 1.5, 0.75, None))
    assert told(signals(calibrated, PromotionSettings())) == {"b": ["teacher"]}
    assert told(signals(calibrated, PromotionSettings(teacher="margin"))) == {"a": ["teacher"]}


def test_a_teacher_that_cannot_tell_is_no_signal():
    table = scored(("a", 9.0, 0.9, 0.9), ("b", 9.0, 0.9, 0.1))
    assert told(signals(table, PromotionSettings(), can_tell=False)) == {"a": ["label_evidence"]}
    assert told(signals(table, PromotionSettings(teacher="margin"), can_tell=False)) == {"a": ["label_evidence"]}


def test_positives_planted_ones_and_copies_are_no_candidates():
    table = scored(
        ("own", 9.0, 0.9, None, {"relevance": 1, "is_positive": True}),
        ("planted", 9.0, 0.9, 0.9, {"relevance": 1, "planted": True}),
        ("copy", 9.0, 0.9, 0.9, {"copy_of": "positive", "norm_copy_of": "positive"}),
        ("nearly", 9.0, 0.9, 0.9, {"norm_copy_of": "query"}),
        ("zero", 9.0, 0.9, 0.9, {"relevance": 0}),
        ("free", 9.0, 0.9, 0.9),
    )
    assert {row["doc_id"]: row["labelled"] for row in signals(table, PromotionSettings()).to_pylist()} == {"zero": True, "free": False}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.csv", "doc_id,query_id,score,more\nd2,1,0.5,x\nd1,1,-3,\n"),
        ("s.tsv", "query_id\tdoc_id\tscore\n1\td2\t0.5\n1\td1\t-3\n"),
        ("s.jsonl", '{"query_id": 1, "doc_id": "d2", "score": 0.5}\n\n{"query_id": "1", "doc_id": "d1", "score": "-3"}\n'),
    ],
)
def test_scores_of_a_second_teacher(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    found = read_scores(tmp_path / name)
    assert (found.schema, found.to_pylist()) == (
        SCORES,
        [{"query_id": "1", "doc_id": "d1", "score": -3.0}, {"query_id": "1", "doc_id": "d2", "score": 0.5}],
    )


def test_scores_in_parquet_and_what_cannot_be_scores(tmp_path):
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"score": [1.5], "doc_id": ["d"], "query_id": [7], "more": [0]}), tmp_path / "s.parquet")
    assert read_scores(tmp_path / "s.parquet").to_pylist() == [{"query_id": "7", "doc_id": "d", "score": 1.5}]
    for text, told_ in (
        ("query_id,doc_id\nq,d\n", "no scores of pairs"),
        ("query_id,doc_id,score\nq,d,high\n", "line 2: no scores of pairs"),
        ("query_id,doc_id,score\nq,d,nan\n", "line 2: the score 'nan' is no number"),
        ("query_id,doc_id,score\nq,d,1\nq,d,2\n", "line 3: query 'q' with document 'd' comes twice"),
    ):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(InputError, match=told_):
            read_scores(tmp_path / "bad.csv")
    with pytest.raises(InputError, match="no scores"):
        read_scores(tmp_path / "missing.parquet")
