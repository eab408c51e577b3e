import csv
import io
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import InputError
from tasks.review.cells import label_of, unmask
from tasks.review.export import export_review
from tasks.review.labels import Answer, agreement, kappa, read_labels, read_manifest, settle
from tasks.review.sample import SAMPLE, Origin, Stratum, manifest_of
from tasks.review.settings import ExportSettings


@pytest.fixture
def manifest(sample, origin):
    return manifest_of(sample, origin)


@pytest.fixture
def pairs(manifest):
    return [one.pair for one in manifest.pairs]


def read(tmp_path, manifest, text, name="r.csv", encoding="utf-8"):
    (tmp_path / name).write_bytes(text.encode(encoding))
    return read_labels([tmp_path / name], manifest)


def labels(answers):
    return {answer.pair: answer.label for answer in answers.answers}


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ("relevant", "relevant"), ("RELEVANT ", "relevant"), ("Yes", "relevant"), ("y", "relevant"), ("1", "relevant"), (1, "relevant"),
        (1.0, "relevant"), (True, "relevant"), ("TRUE", "relevant"), ("not", "not"), ("No.", "not"), ("n", "not"), ("0", "not"), (0, "not"),
        (False, "not"), ("not_relevant", "not"), ("Not  Relevant", "not"), ("non-relevant", "not"), ("irrelevant", "not"), ("-", "not"),
        ("'-", "not"), ("unsure", "unsure"), ("?", "unsure"), ("Maybe", "unsure"), ("don\u2019t know", "unsure"), ("", None), ("  ", None),
        (None, None),
    ],
)  # fmt: skip
def test_spellings(given, label):
    assert label_of(given) == label


@pytest.mark.parametrize("given", ["relevnt", "2", "yes and no", 0.5, []])
def test_what_is_no_label(given):
    with pytest.raises(ValueError):
        label_of(given)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_spreadsheets_do(tmp_path, manifest, pairs, delimiter, encoding, end):
    rows = [
        ["Colour", " Note ", "LABEL", "pair", "", ""],
        ["é", "'-1", "Yes", f" {pairs[0]} ", "", ""],
        ["", "", "", "", "", ""],
        ["", f"a{delimiter}b", "?", pairs[1]],
        ["", "", "", pairs[2]],
        ["", "", "", "", "", "", ""],
        [],
    ]
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator=end).writerows(rows)
    answers = read(tmp_path, manifest, file.getvalue(), encoding=encoding)
    assert answers.answers == tuple(
        sorted(
            [Answer(pair=pairs[0], label="relevant", note="-1"), Answer(pair=pairs[1], label="unsure", note=f"a{delimiter}b")],
            key=lambda answer: answer.pair,
        )
    )
    assert (answers.aside, answers.unreviewed, answers.agreement) == ((), 1, ())


def test_a_line_that_names_the_delimiter(tmp_path, manifest, pairs):
    answers = read(tmp_path, manifest, f"sep=;\r\npair;label\r\n{pairs[0]};no\r\nnobody;no\r\n")
    assert labels(answers) == {pairs[0]: "not"}
    assert answers.aside[0].line == 4


def test_malformed_rows_are_set_aside_alone(tmp_path, manifest, pairs):
    text = (
        "pair,label,note,query_id,doc_id\n"
        f"{pairs[0]},relevnt,,q1,d1\n"  # 2
        f'{pairs[0]},yes,"good\nindeed",q1,d1\n'  # 3 and 4
        "p0000000000000000,yes,,q9,d9\n"  # 5
        f"{pairs[1]},no,extra,comma,q1,d2\n"  # 6
        f'{pairs[1]},"no" ,,q1,d2\n'  # 7
        ",yes,,q1,d2\n"  # 8: known by its ids
        ",yes,,q1,d9\n"  # 9
        ",yes,,,\n"  # 10
        f"{pairs[2]},yes\n"  # 11: cells at the end are missing
        f'{pairs[2]},"yes,,,\n'  # 12: never closed
    )
    answers = read(tmp_path, manifest, text)
    assert labels(answers) == dict.fromkeys(pairs, "relevant")
    assert next(answer.note for answer in answers.answers if answer.pair == pairs[0]) == "good\nindeed"
    file = str(tmp_path / "r.csv")
    assert [(one.line, one.reason) for one in answers.aside] == [
        (2, "the label 'relevnt' is not known"),
        (5, "pair 'p0000000000000000' is not of this review"),
        (6, "6 fields where there are 5 columns"),
        (7, "wrong quotes (',' expected after '\"')"),
        (9, "query 'q1' with document 'd9' is not of this review"),
        (10, "no pair is named"),
        (12, "wrong quotes (unexpected end of data)"),
    ]
    assert str(answers.aside[0]) == f"{file}:2: the label 'relevnt' is not known\n  mend: did you mean 'relevant'?"
    assert all(one.mend for one in answers.aside)
    assert answers.aside[0].content == f"pair={pairs[0]} | label=relevnt | query_id=q1 | doc_id=d1"
    assert answers.unreviewed == 0


def test_an_open_quote_does_not_swallow_the_rest(tmp_path, manifest, pairs):
    text = f'pair,label,note\n{pairs[0]},yes,"open\n{pairs[1]},no,"a ""note"""\n{pairs[2]},?,\n'
    answers = read(tmp_path, manifest, text)
    assert labels(answers) == {pairs[1]: "not", pairs[2]: "unsure"}
    assert [one.line for one in answers.aside] == [2]
    assert answers.unreviewed == 1


def test_json(tmp_path, manifest, pairs):
    rows = [{"pair": pairs[0], "label": True}, {"Label": 0, "query_id": "q1", "doc_id": "d2"}, {"pair": pairs[2], "label": None}, 5]
    lines = "\ufeff" + "\r\n".join([*map(json.dumps, rows), "{broken", ""])
    answers = read(tmp_path, manifest, lines, "r.jsonl")
    assert labels(answers) == {pairs[0]: "relevant", pairs[1]: "not"}
    assert [(one.line, one.reason.split(" (")[0]) for one in answers.aside] == [(4, "not a JSON object"), (5, "bad JSON")]
    assert labels(read(tmp_path, manifest, json.dumps(rows[:3], indent=1), "r.json")) == {pairs[0]: "relevant", pairs[1]: "not"}
    with pytest.raises(InputError, match="bad JSON"):
        read(tmp_path, manifest, "[{]", "r.json")


@pytest.mark.parametrize("text", ["", "\n\n", "pair,verdict\np1,yes\n", "p1,yes\n"])
def test_a_file_without_labels(tmp_path, manifest, text):
    with pytest.raises(InputError, match="no column 'label'"):
        read(tmp_path, manifest, text)
    with pytest.raises(InputError, match="cannot be read"):
        read_labels([tmp_path / "none.csv"], manifest)


def test_labels_of_one_pair(tmp_path, manifest, pairs):
    rows = [
        (pairs[0], "yes", "a"),
        (pairs[0], "1", "b"),
        (pairs[1], "yes", ""),
        (pairs[1], "no", ""),
        (pairs[1], "yes", ""),
        (pairs[2], "", ""),
    ]
    text = "pair,label,note\n" + "".join(",".join(row) + "\n" for row in rows)
    answers = read(tmp_path, manifest, text)
    assert answers.answers == (Answer(pair=pairs[0], label="relevant", note="a; b"),)
    file = tmp_path / "r.csv"
    told = f"one pair has several labels: relevant in {file}:4, not in {file}:5, relevant in {file}:6"
    assert [(one.line, one.reason) for one in answers.aside] == [(4, told), (5, told), (6, told)]
    assert answers.unreviewed == 2


def test_several_reviewers(tmp_path, manifest, pairs):
    (tmp_path / "anna.csv").write_text(f"pair,label\n{pairs[0]},yes\n{pairs[1]},no\n{pairs[2]},yes\n")
    (tmp_path / "ben.csv").write_text(f"pair,label,reviewer\n{pairs[0]},yes,\n{pairs[1]},yes,Bea\n{pairs[2]},?,\n")
    answers = read_labels([tmp_path / "anna.csv", tmp_path / "ben.csv"], manifest)
    assert {(answer.pair, answer.reviewer): answer.label for answer in answers.answers} == {
        (pairs[0], "anna"): "relevant", (pairs[0], "ben"): "relevant", (pairs[1], "anna"): "not", (pairs[1], "Bea"): "relevant",
        (pairs[2], "anna"): "relevant", (pairs[2], "ben"): "unsure",
    }  # fmt: skip
    assert settle(answers.answers) == {pairs[0]: "relevant", pairs[1]: "unsure", pairs[2]: "unsure"}
    assert [(one.first, one.second, one.pairs, one.share) for one in answers.agreement] == [
        ("Bea", "anna", 1, 0.0),
        ("anna", "ben", 2, 0.5),
    ]


def test_kappa_by_hand():
    # Cohen's example of 50 proposals: both yes 20, both no 15, (yes, no) 5, (no, yes) 10; observed 0.7, expected 0.5·0.6 + 0.5·0.4 = 0.5
    table = [("relevant", "relevant")] * 20 + [("not", "not")] * 15 + [("relevant", "not")] * 5 + [("not", "relevant")] * 10
    assert kappa(table) == pytest.approx(0.4)
    assert kappa([("not", "not")] * 5) is None
    assert kappa([("not", "unsure")] * 5) == 0.0
    assert agreement([Answer(pair="p1", reviewer="a", label="not")]) == []


TEXTS = st.text(max_size=30)
IDS = st.text(min_size=1, max_size=8)
ROWS = st.lists(
    st.tuples(IDS, IDS, TEXTS, TEXTS, TEXTS, st.lists(TEXTS, max_size=2)), min_size=1, max_size=6, unique_by=lambda row: row[:2]
)
ANSWERS = st.lists(st.sampled_from(["relevant", "not", "unsure", ""]), min_size=6, max_size=6)


def tabled(rows):
    columns = ("query_id", "doc_id", "query", "title", "text", "positives")
    more = {"stratum": 0, "inclusion": 0.5, "teacher_score": 0.1, "dense_rank": 1, "dense_score": None, "recipes": ["top"]}
    origin = Origin(
        dataset="d", round=1, candidate_set_id="c", seed=1, budget=9, strata=(Stratum(number=0, size=2 * len(rows), draws=len(rows)),)
    )
    return pa.Table.from_pylist([dict(zip(columns, row, strict=True)) | more for row in rows], schema=SAMPLE), origin


@settings(max_examples=50, deadline=None)
@given(ROWS, ANSWERS, TEXTS, st.sampled_from(["csv", "jsonl"]), st.booleans(), st.booleans())
def test_what_is_exported_and_labelled_comes_back(rows, given_labels, note, form, bom, evidence):
    sample, origin = tabled(rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"r.{form}"
        exported = export_review(sample, origin, path, ExportSettings(format=form, bom=bom, evidence=evidence, max_text=0))
        texts = filled(path, form, given_labels, note)
        manifest = read_manifest(path)
        answers = read_labels([path], manifest)
    assert manifest == exported
    assert texts == {(row[0], row[1]): (row[2], row[3], row[4]) for row in rows}
    expected = {
        one.pair: label for one, label in zip(sorted(manifest.pairs, key=lambda one: one.pair), given_labels, strict=False) if label
    }
    assert labels(answers) == expected
    assert (answers.aside, answers.unreviewed) == ((), len(rows) - len(expected))
    assert all(answer.note == unmask(note).strip() for answer in answers.answers)


def filled(path, form, given_labels, note):
    """Label the file as a program would: by pair, in the order of pairs. Gives the texts that it saw."""
    if form == "jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    else:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    for row, label in zip(sorted(rows, key=lambda row: row["pair"]), given_labels, strict=False):
        row["label"], row["note"] = label, note
    restored = unmask if form == "csv" else str
    if form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    names = ("query_id", "doc_id", "query", "title", "text")
    return {(row[0], row[1]): tuple(row[2:]) for row in ([restored(one[name]) for name in names] for one in rows)}


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=300), st.sampled_from(["r.csv", "r.jsonl", "r.json"]))
def test_no_content_brings_the_reader_down(content, name):
    sample, origin = tabled([("q", "d", "", "", "", [])])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(("pair,label\n" if name == "r.csv" else "").encode() + content.encode())
        try:
            read_labels([path], manifest_of(sample, origin))
        except InputError as error:
            assert error.mend
