import gzip

import pyarrow as pa
import pytest

from tasks.compare.truth import check_truth, read_truth
from tasks.errors import InputError


def write(folder, text, name="qrels.tsv"):
    path = folder / name
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def pairs(truth):
    return [tuple(row.values()) for row in truth.pairs.to_pylist()]


EXPECTED = [("q1", "d1", 2), ("q1", "d2", 0), ("q2", "d1", 1)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("query-id\tcorpus-id\tscore\nq2\td1\t1\nq1\td1\t2\nq1\td2\t0\n", "a.tsv"),
        ("q2\td1\t1\nq1\td1\t2\nq1\td2\t0", "a.tsv"),
        ("query-id\tcorpus-id\tscore\r\nq2\td1\t1\r\n\r\nq1\td1\t2\r\nq1\td2\t0\r\n", "a.tsv"),
        ("q2 0 d1 1\nq1  0 d1 2\nq1 0 d2 0\n", "a.txt"),
        ("q2\t0\td1\t1\nq1\t0\td1\t2\nq1\t0\td2\t0\n", "a.tsv"),
        ("\ufeffq2\td1\t1.0\nq1\td1\t2\nq1\td2\t0\nq1\td1\t2\n", "a.tsv.gz"),
    ],
)
def test_layouts(tmp_path, text, name):
    truth = read_truth(write(tmp_path, text, name))
    assert pairs(truth) == EXPECTED
    assert truth.judged["query_id"].to_pylist() == ["q1", "q2"]
    assert truth.relevant.to_pylist() == [{"query_id": "q1", "doc_id": "d1"}, {"query_id": "q2", "doc_id": "d1"}]


def test_grades_and_measured_queries(tmp_path):
    path = write(tmp_path, "q1\td1\t2\nq1\td2\t1\nq2\td1\t1\nq3\td 3\t2\n")
    measured = write(tmp_path, "q3\n\nq1\nq3\n", "measured.txt")
    truth = read_truth(path, measured, min_grade=2)
    assert truth.judged["query_id"].to_pylist() == ["q1", "q3"]
    assert truth.relevant.to_pylist() == [{"query_id": "q1", "doc_id": "d1"}, {"query_id": "q3", "doc_id": "d 3"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file has no line"),
        ("query-id\tcorpus-id\tscore\n", "nothing after the header"),
        ("q1\td1\t1\nq1\td2\n", "qrels.tsv:2: 2 columns, not 3"),
        ("q1\t1\n", "qrels.tsv:1: 2 columns"),
        ("a\tb\tc\n\nq1\td1\t1\nq1\td2\thigh\nq1\td3\tlow\n", r"qrels.tsv:4: the score 'high' is no whole number \(and 1 more"),
        ("q1\td1\t1\nq1\td2\t0.5\n", "qrels.tsv:2: the score '0.5'"),
        ("q1\td1\t1\n\td2\t1\n", "qrels.tsv:2: no query id"),
        ("q1\td1\t1\nq1\t \t1\n", "qrels.tsv:2: no document id"),
        ("q1\td1\t1\nq2\td1\t1\nq1\td1\t0\n", "qrels.tsv:3: query 'q1' and document 'd1' have two grades, 0 and 1"),
        ("q1\td1\t0\n", r"no pair has a grade of 1 or more \(the highest is 0\)"),
        (b"q1\td1\t1\nq\xff\td1\t1\n", "qrels.tsv:2: not UTF-8"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as error:
        read_truth(write(tmp_path, text))
    assert error.value.mend


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_truth(tmp_path / "none.tsv")
    (tmp_path / "cut.tsv.gz").write_bytes(gzip.compress(b"q1\td1\t1\n" * 1000)[:-10])
    with pytest.raises(InputError, match="cannot be read"):
        read_truth(tmp_path / "cut.tsv.gz")
    with pytest.raises(InputError, match=r"m.txt:2: query 'q9' is not in"):
        read_truth(write(tmp_path, "q1\td1\t1\n"), write(tmp_path, "q1\nq9\n", "m.txt"))
    with pytest.raises(InputError, match=r"m.txt: the file has no line"):
        read_truth(write(tmp_path, "q1\td1\t1\n"), write(tmp_path, "\n", "m.txt"))


def test_a_truth_of_another_collection_is_refused(tmp_path):
    truth = read_truth(write(tmp_path, "q1\td1\t1\n"))
    check_truth(truth, pa.table({"query_id": ["q1"], "doc_id": ["d1"]}))
    with pytest.raises(InputError, match="none of its relevant pairs"):
        check_truth(truth, pa.table({"query_id": ["q1"], "doc_id": ["d2"]}))
    with pytest.raises(InputError, match="none of its judged queries"):
        check_truth(truth, pa.table({"query_id": ["q2"], "doc_id": ["d1"]}))
