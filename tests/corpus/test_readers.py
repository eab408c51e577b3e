import csv
import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.corpus.readers import arrow, delimited, jsonl
from tasks.corpus.readers.rows import Cursor, Dialect, shown
from tasks.errors import InputError

CSV, TSV = Dialect(), Dialect("\t", quoted=False, header=("q", "d", "r"))
REUSED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(reader, path, dialect=CSV):
    return list(reader(Path(path), dialect, Cursor()))


def test_jsonl_sets_bad_lines_aside_and_keeps_the_others(tmp_path):
    path = tmp_path / "c.jsonl"
    lines = [b'\xef\xbb\xbf{"a": 1}', b"", b"{bad", b'{"a": "\xff"}', b"[1]", b"[" * 100_000, b'{"a": 2}\r']
    path.write_bytes(b"\n".join(lines))
    rows = read(jsonl.read, path)
    assert [row.line for row in rows] == [1, 3, 4, 5, 6, 7]
    assert [row.values for row in rows] == [{"a": 1}, {}, {}, {}, {}, {"a": 2}]
    assert [row.reason.split(":")[0] for row in rows] == ["", "bad JSON", "not UTF-8", "not a JSON object", "bad JSON", ""]
    assert shown(rows[2]) == '{"a": "\ufffd"}'
    assert len(shown(rows[4])) == 200


def test_jsonl_breaks_lines_at_newlines_only(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text('{"a": "x\u2028y\x85z"}\n', encoding="utf-8")
    assert [row.values for row in read(jsonl.read, path)] == [{"a": "x\u2028y\x85z"}]


def test_gzip_has_the_same_rows_and_moves_the_cursor(tmp_path):
    data = b"".join(b'{"n": %d}\n' % n for n in range(3_000))
    (tmp_path / "c.jsonl").write_bytes(data)
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(data))
    cursor = Cursor()
    packed = list(jsonl.read(tmp_path / "c.jsonl.gz", CSV, cursor))
    assert packed == read(jsonl.read, tmp_path / "c.jsonl")
    assert cursor.done == (tmp_path / "c.jsonl.gz").stat().st_size


def test_cut_gzip_is_named(tmp_path):
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"a": list(range(20_000))}).encode())[:-20])
    with pytest.raises(InputError, match=r"c.jsonl.gz: the compressed data is damaged or cut short"):
        read(jsonl.read, path)


def test_csv_line_numbers_count_quoted_line_ends(tmp_path):
    path = tmp_path / "c.csv"
    path.write_bytes(b'\xef\xbb\xbfid,text\r\n1,"two\nlines, ""so"""\r\n\r\n2,x\r\n3,\xff\r\n4\r\n5,a,b\r\n6,"a"b\r\n7,y\r\n')
    rows = read(delimited.read, path)
    assert [(row.line, row.reason) for row in rows] == [
        (2, ""),
        (5, ""),
        (6, "not UTF-8"),
        (7, "1 fields where there are 2 columns"),
        (8, "3 fields where there are 2 columns"),
        (9, "bad CSV: ',' expected after '\"'"),
        (10, ""),
    ]
    assert [row.values for row in rows if not row.reason] == [
        {"id": "1", "text": 'two\nlines, "so"'},
        {"id": "2", "text": "x"},
        {"id": "7", "text": "y"},
    ]
    assert shown(rows[2]) == "3,?"


def test_csv_open_quote_stops_with_its_line(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text('id,text\n1,x\n2,"never\n3,y\n')
    with pytest.raises(InputError, match=r"c.csv:3: a quote is opened here and never closed"):
        read(delimited.read, path)


def test_csv_takes_long_fields(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text(f"id,text\n1,{'x' * 300_000}\n")
    assert len(read(delimited.read, path)[0].values["text"]) == 300_000


@pytest.mark.parametrize("header", [b"", b"query-id\tcorpus-id\tscore\n"])
def test_qrels_with_and_without_header_and_with_quotes(tmp_path, header):
    path = tmp_path / "t.tsv"
    path.write_bytes(header + b'"a\tb"\t1\nc\td\tx\n')
    first = 2 if header else 1
    assert [(row.line, dict(row.values)) for row in read(delimited.read, path, TSV)] == [
        (first, {"q": '"a', "d": 'b"', "r": "1"}),
        (first + 1, {"q": "c", "d": "d", "r": "x"}),
    ]


def test_parquet_rows_are_numbered_over_batches_and_broken_text_is_set_aside(tmp_path):
    values = [f"t{n}".encode() for n in range(2_500)]
    values[1_500] = b"\xff"
    broken = pa.Array.from_buffers(pa.string(), len(values), pa.array(values, pa.binary()).buffers())
    pq.write_table(pa.table({"id": list(range(2_500)), "text": broken}), tmp_path / "c.parquet")
    cursor = Cursor()
    rows = list(arrow.read_parquet(tmp_path / "c.parquet", CSV, cursor))
    assert [row.line for row in rows] == list(range(1, 2_501))
    assert [(row.line, row.reason, row.values["text"]) for row in rows if row.reason] == [(1_501, "not UTF-8", "\ufffd")]
    assert rows[2_499].values == {"id": 2_499, "text": "t2499"}
    assert cursor.done == (tmp_path / "c.parquet").stat().st_size


def test_damaged_parquet_is_named(tmp_path):
    (tmp_path / "c.parquet").write_bytes(b"PAR1" + b"x" * 50)
    with pytest.raises(InputError, match=r"c.parquet: damaged Parquet file"):
        read(arrow.read_parquet, tmp_path / "c.parquet")


def test_cut_arrow_is_named(tmp_path):
    path = tmp_path / "c.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, pa.schema([("n", pa.int64())])) as writer:
        writer.write_table(pa.table({"n": list(range(9_000))}))
    assert len(read(arrow.read_arrow, path)) == 9_000
    path.write_bytes(path.read_bytes()[:30_000])
    with pytest.raises(InputError, match=r"c.arrow: damaged Arrow file"):
        read(arrow.read_arrow, path)


@REUSED
@given(lines=st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b" ")) | st.just(b'{"a": "b"}'), max_size=15))
def test_every_line_of_any_bytes_is_a_row_or_blank(tmp_path, lines):
    path = tmp_path / "any.jsonl"
    path.write_bytes(b"\n".join(lines))
    rows = read(jsonl.read, path)
    bom = b"\xef\xbb\xbf"
    filled = [n for n, line in enumerate(lines, 1) if (line.removeprefix(bom) if n == 1 else line).strip()]
    assert [row.line for row in rows] == filled
    good = [n for n, line in enumerate(lines, 1) if line == b'{"a": "b"}']
    assert set(good) <= {row.line for row in rows if not row.reason}


@REUSED
@given(
    rows=st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.text('a"\n\r,\0 é', max_size=9)), max_size=8)
)
def test_csv_gives_back_what_was_written(tmp_path, rows):
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerows([("x", "y"), *rows])
    path = tmp_path / "any.csv"
    path.write_bytes(text.getvalue().encode())
    assert [tuple(row.values.values()) for row in read(delimited.read, path)] == rows
