"""Runs, score tables, triplets, vectors, judgements, scores of a second teacher: any bytes are rows or an error that names the file."""

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.compare.truth import read_truth
from tasks.errors import InputError
from tasks.retrieve.further_settings import FurtherSource
from tasks.retrieve.given import stage as given_stage
from tasks.retrieve.given.vector_files import VectorFiles, check_vectors
from tasks.review.second import read_scores
from tests.fuzz.material import MUCH, ODD_IDS, bad_lines, line_ends, odd_ids, odd_rows, spoilt, values
from tests.retrieve.build import context, dataset, run

fault = pytest.mark.fault
DOCS = [(f"d{number}", "", f"Text of document {number}.") for number in range(4)]
QUERIES = [("q1", "first question"), ("q2", "second question")]
GOOD = {
    "run": b"q1 Q0 d1 1 2.5 t",
    "jsonl": json.dumps({"query_id": "q1", "doc_id": "d1", "score": 2.5}).encode(),
    "csv": b"q1,d1,2.5",
    "triplets": json.dumps({"anchor": "first question", "negative": "Text of document 1."}).encode(),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    setting = context(folder / "root")
    return setting, dataset(setting.storage, DOCS, QUERIES, [("q1", "d2", 1)], 2, 1), folder


def rows(world, path, kind):
    """The good row's pair among the given candidates: how often; what was skipped."""
    setting, data, _ = world
    source = FurtherSource.model_validate({"name": "other", "kind": kind, "files": str(path), "unknown": "skip"})
    (part,) = run(setting, given_stage.STAGE, given_stage.jobs(source, [path], data.documents, data.queries))
    return part.meta


@fault(
    "bad lines in a run, a table or triplets", "any bytes, spoilt rows, odd values, NaN and infinite scores before and after a good line"
)
@MUCH
@given(lines=st.lists(bad_lines | odd_rows, max_size=5), end=line_ends, form=st.sampled_from(sorted(GOOD)), at=st.integers(0, 5))
def test_given_candidates_are_all_read_or_the_file_is_refused_by_name(world, lines, end, form, at):
    path = world[2] / {"run": "a.trec", "jsonl": "a.jsonl", "csv": "a.csv", "triplets": "t.jsonl"}[form]
    lines.insert(at, GOOD[form])
    path.write_bytes(end.join([*([b"query_id,doc_id,score"] if form == "csv" else []), *lines]))
    try:
        meta = rows(world, path, {"run": "run", "triplets": "triplets"}.get(form, "table"))
    except InputError as error:
        assert str(path) in error.message and error.mend
    else:
        assert meta["rows"] >= 1, "the good line was lost"


@fault("rows of any values in tables and triplets", "any fields with any values")
@MUCH
@given(
    row=st.dictionaries(st.sampled_from(["query_id", "doc_id", "score", "rank", "anchor", "negative", "negative_ids"]), values),
    kind=st.sampled_from(["table", "triplets"]),
)
def test_rows_of_any_values(world, row, kind):
    path = world[2] / "row.jsonl"
    path.write_text(json.dumps(row))
    try:
        assert rows(world, path, kind)["rows"] <= 1
    except InputError as error:
        assert str(path) in error.message and error.mend


def npy(array):
    sink = io.BytesIO()
    np.save(sink, array)
    return sink.getvalue()


def parquet(table):
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


PLAIN = np.arange(8, dtype=np.float32).reshape(4, 2)
IDS = [one[0] for one in DOCS]


@fault("damaged files of vectors and tables", "bytes of .npy and .parquet cut, changed, inserted, doubled, dropped")
@MUCH
@given(data=st.data(), kind=st.sampled_from(["npy", "parquet", "table"]))
def test_spoilt_binary_files_are_rows_or_a_named_error(world, data, kind):
    folder = world[2]
    table = pa.table({"query_id": ["q1"] * 4, "doc_id": IDS, "score": [1.0, 2.0, 3.0, 4.0], "id": IDS, "vector": PLAIN.tolist()})
    whole = npy(PLAIN) if kind == "npy" else parquet(table)
    path = folder / ("v.npy" if kind == "npy" else "v.parquet")
    path.write_bytes(data.draw(spoilt(whole)))
    (folder / "ids.txt").write_text("\n".join(IDS))
    try:
        if kind == "table":
            rows(world, path, "table")
        else:
            ids = {"document_ids": str(folder / "ids.txt"), "query_ids": str(folder / "ids.txt")} if kind == "npy" else {}
            files = VectorFiles(
                FurtherSource.model_validate({"name": "v", "kind": "vectors", "documents": str(path), "queries": str(path), **ids}),
                "documents",
            )
            assert files.rows(np.arange(len(files.ids()))).shape[1] == files.dim
    except InputError as error:
        assert str(path) in error.message or "source v" in error.message or str(folder / "ids.txt") in error.message
        assert error.mend


@fault("a pickle or an archive where vectors are given", "a `.npy` of objects, a zip, an empty file, half a header")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (npy(np.array([{"a": 1}], dtype=object)), "not a .npy file of numbers"),
        (b"PK\x03\x04" + b"\0" * 40, "not a .npy file of numbers"),
        (b"", "not a .npy file of numbers"),
        (npy(PLAIN).replace(b"}", b"("), "not a .npy file of numbers"),
        (npy(np.zeros((2, 2), np.int64)), "not float vectors"),
    ],
    ids=["a pickle", "an archive", "empty", "a header cut short", "whole numbers"],
)
def test_vectors_are_read_without_pickle(world, content, said):
    path = world[2] / "x.npy"
    path.write_bytes(content)
    (world[2] / "ids.txt").write_text("a\nb")
    ids = str(world[2] / "ids.txt")
    settings = {"name": "v", "kind": "vectors", "documents": str(path), "queries": str(path), "document_ids": ids, "query_ids": ids}
    with pytest.raises(InputError, match=said):
        check_vectors(FurtherSource.model_validate(settings))


def test_ids_of_vectors_are_lines_and_nothing_else_parts_them(world):
    path, ids = world[2] / "odd.npy", [one for one in ODD_IDS if "\ufeff" not in one]
    path.write_bytes(npy(np.zeros((len(ids), 2), np.float32)))
    (world[2] / "odd.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(ids).encode() + b"\r\n")
    named = str(world[2] / "odd.txt")
    settings = {"name": "v", "kind": "vectors", "documents": str(path), "queries": str(path), "document_ids": named, "query_ids": named}
    assert VectorFiles(FurtherSource.model_validate(settings), "documents").ids() == ids
    (world[2] / "odd.txt").write_bytes(b"\xff\n")
    with pytest.raises(InputError, match=r"odd\.txt: not a text file in UTF-8"):
        VectorFiles(FurtherSource.model_validate(settings), "documents").ids()


@fault("a qrels file of any lines", "any bytes, good and bad lines, any line ends")
@MUCH
@given(
    lines=st.lists(bad_lines | st.sampled_from([b"q1\td1\t1", b"q1 0 d1 1", b"q2\td2\t0", b"q1\td1\t2", b"q\td\t1.5"]), max_size=6),
    end=line_ends,
)
def test_truths_of_any_lines(tmp_path, lines, end):
    path = tmp_path / "q.tsv"
    path.write_bytes(end.join(lines))
    try:
        assert read_truth(path).pairs.num_rows >= 1
    except InputError as error:
        assert str(path) in error.message and error.mend


@fault("a second teacher's scores of any values", "any ids and scores, NaN and infinite ones too, as CSV and JSON lines")
@MUCH
@given(
    row=st.fixed_dictionaries({"query_id": values, "doc_id": odd_ids, "score": values}),
    lines=st.lists(bad_lines, max_size=2),
    name=st.sampled_from(["s.jsonl", "s.csv"]),
)
def test_scores_of_a_second_teacher_of_any_values(tmp_path, row, lines, name):
    path = tmp_path / name
    text = io.StringIO(newline="")
    csv.writer(text).writerows([list(row), [str(one).encode("utf-8", "replace").decode() for one in row.values()]])
    whole = text.getvalue().encode() if name == "s.csv" else json.dumps(row).encode() + b"\n"
    path.write_bytes(whole + b"\n".join(lines))
    try:
        assert np.isfinite(read_scores(path)["score"].to_numpy()).all()
    except InputError as error:
        assert str(path) in error.message and error.mend
