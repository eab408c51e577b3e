import gzip

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.corpus.readers.delimited import read
from tasks.corpus.readers.rows import Cursor, Dialect
from tasks.errors import InputError
from tasks.review.promote import promote
from tasks.review.qrels import OUTCOMES, as_jsonl, as_tsv, merge_labels, read_provenance, write_qrels
from tasks.review.settings import PromotionSettings


def qrels(*rows):
    return pa.table({name: pa.array([row[place] for row in rows], kind) for place, (name, kind) in enumerate(
        (("query_id", pa.string()), ("doc_id", pa.string()), ("relevance", pa.int32())))})  # fmt: skip


def labels(*rows):
    return pa.table(
        {name: pa.array([row[place] for row in rows], pa.string()) for place, name in enumerate(("query_id", "doc_id", "label"))}
    )


def rows(table):
    return [tuple(row.values()) for row in table.to_pylist()]


def counts(merged):
    return {outcome: count for outcome, count in merged.counts.items() if count}


def test_labels_are_added_and_the_users_own_are_kept():
    present = qrels(("q2", "d1", 1), ("q1", "d1", 2), ("q1", "d2", 0), ("q1", "d3", 1))
    reviewed = labels(
        ("q1", "d1", "not"),  # the user says 2: a conflict
        ("q1", "d2", "relevant"),  # the user says 0: a conflict
        ("q1", "d3", "relevant"),  # confirmed
        ("q1", "d4", "relevant"),
        ("q1", "d5", "not"),
        ("q1", "d6", "unsure"),
    )
    merged = merge_labels(present, reviewed)
    assert rows(merged.qrels) == [("q1", "d1", 2), ("q1", "d2", 0), ("q1", "d3", 1), ("q1", "d4", 1), ("q1", "d5", 0), ("q2", "d1", 1)]
    assert rows(merged.provenance) == [("q1", "d4", 1, "review", ["review"]), ("q1", "d5", 0, "review", ["review"])]
    assert rows(merged.conflicts) == [("q1", "d1", 2, 0, "review"), ("q1", "d2", 0, 1, "review")]
    assert counts(merged) == {"kept": 1, "added_relevant": 1, "added_not": 1, "confirmed": 1, "conflicts": 2}
    assert tuple(merged.counts) == OUTCOMES
    assert (merged.qrels.column_names, merged.qrels.schema.field("relevance").type) == (["query_id", "doc_id", "relevance"], pa.int32())


@pytest.mark.parametrize(("least", "relevant", "not_relevant"), [(1, 1, 0), (2, 2, 0), (0, 1, -1), (3, 3, 0)])
def test_grades_fit_what_counts_as_positive(least, relevant, not_relevant):
    merged = merge_labels(qrels(), labels(("q", "a", "relevant"), ("q", "b", "not")), positive_min_grade=least)
    assert rows(merged.qrels) == [("q", "a", relevant), ("q", "b", not_relevant)]


def test_later_evidence_replaces_earlier_reviews_and_promotions():
    first = merge_labels(
        qrels(("q", "own", 1)),
        labels(("q", "a", "relevant")),
        promoted=pa.table(
            {"query_id": ["q", "q", "q"], "doc_id": ["a", "b", "own"], "signals": [["t1", "t2"]] * 3, "score": [0.9, 0.8, 0.7]}
        ),
    )
    assert rows(first.qrels) == [("q", "a", 1), ("q", "b", 1), ("q", "own", 1)]
    assert rows(first.provenance) == [("q", "a", 1, "review", ["review"]), ("q", "b", 1, "promoted", ["t1", "t2"])]
    assert counts(first) == {"added_relevant": 1, "promoted": 1, "confirmed": 1}
    again = merge_labels(first.qrels, labels(("q", "a", "not"), ("q", "b", "not"), ("q", "own", "not")), provenance=first.provenance)
    assert rows(again.qrels) == [("q", "a", 0), ("q", "b", 0), ("q", "own", 1)]
    assert rows(again.provenance) == [("q", "a", 0, "review", ["review"]), ("q", "b", 0, "review", ["review"])]
    assert counts(again) == {"replaced": 2, "conflicts": 1}
    promoted = pa.table({"query_id": ["q"], "doc_id": ["a"], "signals": [["t1", "t2"]], "score": [0.9]})
    third = merge_labels(again.qrels, labels(), promoted=promoted, provenance=again.provenance)
    assert rows(third.qrels) == rows(again.qrels)
    assert rows(third.conflicts) == [("q", "a", 0, 1, "promoted")]
    assert rows(third.provenance) == rows(again.provenance)


def test_nothing_to_merge():
    present = qrels(("q", "b", 1), ("q", "a", 0))
    merged = merge_labels(present, labels())
    assert rows(merged.qrels) == [("q", "a", 0), ("q", "b", 1)]
    assert (merged.provenance.num_rows, merged.conflicts.num_rows, counts(merged)) == (0, 0, {"kept": 2})


def test_files_that_ingest_reads(tmp_path):
    merged = merge_labels(qrels(("q 1", "dé'", 3), ('q"2', "d", -1)), labels(("q 1", "new", "relevant")))
    sidecar = write_qrels(merged, tmp_path / "reviewed.tsv")
    assert (tmp_path / "reviewed.tsv").read_bytes() == "query-id\tcorpus-id\tscore\nq 1\tdé'\t3\nq 1\tnew\t1\nq\"2\td\t-1\n".encode()
    assert sidecar == tmp_path / "reviewed.provenance.jsonl"
    assert rows(read_provenance(sidecar)) == [("q 1", "new", 1, "review", ["review"])]
    for quoted in (True, False):
        found = [raw.values for raw in read(tmp_path / "reviewed.tsv", Dialect("\t", quoted), Cursor())]
        assert found[0] == {"query-id": "q 1", "corpus-id": "dé'", "score": "3"}
        assert len(found) == 3
    assert as_jsonl(merged.qrels).splitlines()[1] == '{"query_id": "q 1", "doc_id": "new", "relevance": 1}'
    with pytest.raises(InputError, match="no provenance"):
        read_provenance(tmp_path / "reviewed.tsv")


@pytest.mark.parametrize("identifier", ["a\tb", "a\nb", "a\rb", '"a'])
def test_ids_that_a_tsv_cannot_hold(identifier):
    with pytest.raises(InputError, match="cannot stand in a TSV file"):
        as_tsv(qrels(("q", identifier, 1)))


IDS = st.text(st.characters(codec="utf-8", exclude_characters='\t\r\n"\0'), min_size=1, max_size=5).filter(lambda text: text.strip())


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.tuples(IDS, IDS), st.integers(-3, 3), max_size=8),
    st.dictionaries(st.tuples(IDS, IDS), st.sampled_from(["relevant", "not", "unsure"]), max_size=8),
)
def test_every_pair_is_accounted_for(present, reviewed):
    table, given_labels = (
        qrels(*((*pair, grade) for pair, grade in present.items())),
        labels(*((*pair, label) for pair, label in reviewed.items())),
    )
    merged = merge_labels(table, given_labels)
    after = {row[:2]: row[2] for row in rows(merged.qrels)}
    sure = {pair: {"relevant": 1, "not": 0}[label] for pair, label in reviewed.items() if label != "unsure"}
    assert after == sure | present
    assert sum(merged.counts.values()) == merged.qrels.num_rows
    assert {row[:2] for row in rows(merged.provenance)} == set(sure) - set(present)
    again = merge_labels(merged.qrels, given_labels, provenance=merged.provenance)
    assert again.qrels.equals(merged.qrels)
    assert again.provenance.equals(merged.provenance)
    lines = as_tsv(merged.qrels).split("\n")
    assert [tuple(line.split("\t")) for line in lines[1:-1]] == [(*pair, str(grade)) for pair, grade in sorted_pairs(after)]


def sorted_pairs(pairs):
    return sorted(pairs.items(), key=lambda item: tuple(part.encode() for part in item[0]))


def candidates(*given):
    names = ("query_id", "doc_id", "signals", "against", "score")
    kinds = (pa.string(), pa.string(), pa.list_(pa.string()), pa.list_(pa.string()), pa.float64())
    return pa.table(
        {name: pa.array([row[place] for row in given], kind) for place, (name, kind) in enumerate(zip(names, kinds, strict=True))}
    )


SPLITS = pa.table({"query_id": ["q1", "q2", "q3", "q4"], "split": pa.array(["train", "dev", "Calibration", None])})
NO_LABELS = pa.table({"query_id": pa.array([], pa.string()), "doc_id": pa.array([], pa.string())})


def test_two_signals_promote_best_first():
    both, three = ["teacher-2", "teacher-1"], ["review", "teacher-1", "teacher-2"]
    found = promote(
        candidates(
            ("q1", "a", both, None, 0.9),
            ("q1", "b", both, [], 0.95),
            ("q1", "c", three, None, None),  # most signals, so first
            ("q1", "d", both, None, 0.9),  # as good as a, whose id comes first: over the cap of three
            ("q1", "e", ["teacher-1", "teacher-1"], None, 0.99),  # one signal, named twice
            ("q1", "f", both, ["review"], 0.99),
            ("q1", "g", both, None, 0.99),  # has a label
            ("q1", "h", None, None, 0.99),
            ("q2", "a", three, None, 1.0),
            ("q3", "a", three, None, 1.0),
            ("q4", "a", both, None, 0.5),  # in no split
            ("q5", "a", both, None, None),  # unknown to the splits
        ),
        pa.table({"query_id": ["q1"], "doc_id": ["g"]}),
        SPLITS,
    )
    assert rows(found.promoted) == [
        ("q1", "c", ["review", "teacher-1", "teacher-2"], None),
        ("q1", "b", ["teacher-1", "teacher-2"], 0.95),
        ("q1", "a", ["teacher-1", "teacher-2"], 0.9),
        ("q4", "a", ["teacher-1", "teacher-2"], 0.5),
        ("q5", "a", ["teacher-1", "teacher-2"], None),
    ]
    assert rows(found.refused) == [
        ("q1", "d", "over_cap"),
        ("q1", "e", "few_signals"),
        ("q1", "f", "contradicted"),
        ("q1", "g", "labelled"),
        ("q1", "h", "few_signals"),
        ("q2", "a", "protected"),
        ("q3", "a", "protected"),
    ]
    assert found.counts == {"labelled": 1, "protected": 2, "contradicted": 1, "few_signals": 2, "over_cap": 1}


def test_earlier_promotions_count_towards_the_cap():
    given = candidates(*(("q1", doc, ["a", "b"], None, score) for doc, score in (("x", 0.1), ("y", 0.2))))
    before = pa.table({"query_id": ["q1", "q1", "q1"], "provenance": ["promoted", "promoted", "review"]})
    assert rows(promote(given, NO_LABELS, SPLITS, provenance=before).promoted) == [("q1", "y", ["a", "b"], 0.2)]
    assert promote(given, NO_LABELS, SPLITS, PromotionSettings(per_query=1), before).promoted.num_rows == 0


def test_more_signals_may_be_asked_for_but_never_one():
    given = candidates(("q1", "x", ["a", "b"], None, 0.1)).select(["query_id", "doc_id", "signals"])
    assert promote(given, NO_LABELS, SPLITS).promoted.num_rows == 1
    assert promote(given, NO_LABELS, SPLITS, PromotionSettings(min_signals=3)).counts["few_signals"] == 1
    with pytest.raises(ValueError, match="min_signals"):
        PromotionSettings(min_signals=1)


def test_a_packed_file_reads_the_same(tmp_path):
    merged = merge_labels(qrels(("q", "d", 1)), labels(("q", "e", "not")))
    (tmp_path / "reviewed.tsv.gz").write_bytes(gzip.compress(as_tsv(merged.qrels).encode()))
    assert [raw.values["corpus-id"] for raw in read(tmp_path / "reviewed.tsv.gz", Dialect("\t", False), Cursor())] == ["d", "e"]
