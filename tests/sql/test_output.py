"""What results look like: on a terminal, and in files."""

import datetime
import io
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from flows import query as command
from flows.tables import fit, plain, print_table, spell
from tasks import sql
from tasks.errors import UsageError


def printed(table, width, **options):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_table(console, table, **options)
    return console.file.getvalue()


def test_a_small_result():
    table = pa.table({"reason": ["duplicate", None], "pairs": [7, 12345], "share": pa.array([0.1, None], pa.float32())})
    assert printed(table, 80) == (
        "┏━━━━━━━━━━━┳━━━━━━━┳━━━━━━━┓\n"
        "┃ reason    ┃ pairs ┃ share ┃\n"
        "┡━━━━━━━━━━━╇━━━━━━━╇━━━━━━━┩\n"
        "│ duplicate │     7 │   0.1 │\n"
        "│ NULL      │ 12345 │  NULL │\n"
        "└───────────┴───────┴───────┘\n"
        "2 rows\n"
    )


def test_texts_are_cut_before_columns_are_left_out():
    table = pa.table({"text": ["x" * 100] * 2, "score": [1.5, 2.5], "more": ["y" * 30] * 2})
    # at least 16 + 5 + 16 and three frames of 3 and 1: 47, so `more` does not fit; then 40 - 5 - 7 = 28 for the text
    out = printed(table, 40)
    assert max(map(cell_len, out.splitlines()[:-3])) <= 40
    assert out.splitlines()[3] == f"│ {'x' * 27}… │   1.5 │"
    assert "2 rows; 2 of 3 columns" in out.replace("\n", " ")
    assert "left out: more" in out.replace("\n", " ")


def test_widths():
    names, columns = ["a", "number_of_pairs", "t"], [["x" * 50], ["123456789012"], ["y" * 20]]
    # at least 16, max(12, 10) = 12, 16 and frames of 10: 54. Six more go evenly to all, who want 34, 3 and 4
    assert fit(names, columns, [False, True, False], 54) == [16, 12, 16]
    assert fit(names, columns, [False, True, False], 60) == [18, 14, 18]
    assert fit(names, columns, [False, True, False], 53) == [31, 15]  # t is left out; of 53 - 7 - 28 = 18 the name takes 3
    assert fit(names, columns, [False, True, False], 200) == [50, 15, 20]
    assert fit(names, columns, [False, True, False], 10) == [6]
    assert fit([], [], [], 10) == []


def test_one_wide_row_is_written_downwards():
    table = pa.table({f"a_rather_long_name_{number}": [number] for number in range(9)} | {"text": ["word " * 30]})
    out = printed(table, 40)
    assert [line for line in out.splitlines() if "a_rather_long_name_8" in line] == ["│ a_rather_long_name_8 │ 8             │"]
    assert out.endswith("1 row\n")
    assert "left out" not in out


def test_a_long_value_leaves_room_for_the_others():
    table = pa.table({"recipe": ["top"], "settings": ["word " * 3000], "last": ["seen"]})
    out = printed(table, 80)
    assert len(out.splitlines()) <= 8 + 5
    assert "…" in out
    assert "seen" in out
    assert out.endswith("1 row; shortened: settings (ask for it alone, or --format json)\n")
    alone = printed(table.select(["settings"]), 80)
    assert alone.count("word") == 3000
    assert alone.endswith("1 row\n")


def test_rows_are_counted():
    table = pa.table({"n": list(range(1000))})
    out = printed(table, 200, max_rows=3)
    assert "│ 2 │" in out
    assert "│ 3 │" not in out
    assert out.splitlines()[-1] == "3 of 1,000 rows (LIMIT and OFFSET page through them, --format csv gives all)"
    assert printed(table.slice(0, 0), 80).splitlines()[-1] == "0 rows"


def test_texts_cannot_steer_the_terminal():
    assert plain("a\x1b[31mb\u202ec\n\td\x00") == "a\\x1b[31mb\\u202ec  d\\x00"
    out = printed(pa.table({"\x1b[2J": ["\x1b]0;title\x07", "[red]not markup[/red]"]}), 80)
    assert "\x1b" not in out
    assert "[red]not markup[/red]" in out
    assert "\\x1b]0;title\\x07" in out


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (True, "true"),
        (0.1234567, "0.123457"),
        (1e-9, "1e-09"),
        (123456.0, "123456"),
        (Decimal("1.50"), "1.50"),
        ([1, None, "a"], "[1, NULL, a]"),
        ({"a": 1, "b": [2.5]}, "{a: 1, b: [2.5]}"),
        (b"\x01\xff", "01ff"),
        (datetime.date(2020, 1, 2), "2020-01-02"),
    ],
)
def test_values_in_words(value, text):
    assert spell(value) == text


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=40), st.one_of(st.none(), st.text(max_size=60))), min_size=1, max_size=12),
    st.integers(30, 120),
)
def test_no_line_is_wider_than_the_terminal(columns, width):
    for rows in (1, 2):
        table = pa.Table.from_arrays([pa.array([value] * rows) for _, value in columns], names=[name for name, _ in columns])
        assert all(cell_len(line) <= width for line in printed(table, width).splitlines())


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    path = tmp_path_factory.mktemp("snapshot") / "a.duckdb"
    with sql.new_database(path) as database:
        database.execute("CREATE TABLE pairs AS SELECT * FROM (VALUES ('q1', 0.5, 1), ('q2', NULL, 2)) t(query_id, score, n)")
    return path


ODD = """SELECT sum(n) AS s, 1.50::DECIMAL(5, 2) AS d, [DATE '2020-01-02'] AS l, {'a': 'NaN'::FLOAT} AS st, MAP {'k': 1} AS m,
  'a'::BLOB AS b, INTERVAL 3 DAYS AS i, 'infinity'::DATE AS never, 1 AS x, 2 AS x, NULL AS nothing, '' AS empty,
  'inf'::DOUBLE AS inf, union_value(u := 1) AS un FROM pairs"""


def test_json(snapshot, capsys):
    console = Console(file=io.StringIO())
    command.answer(console, snapshot, "SELECT * FROM pairs WHERE query_id = $q", "json", None, ["q=q2"])
    assert json.loads(capsys.readouterr().out) == [{"query_id": "q2", "score": None, "n": 2}]
    command.answer(console, snapshot, ODD, "json")
    row = json.loads(capsys.readouterr().out)[0]
    assert row | {"never": 0} == {
        "s": 3, "d": 1.5, "l": ["2020-01-02"], "st": {"a": None}, "m": {"k": 1}, "b": "61", "i": "3 days", "never": 0, "x": 1, "x_2": 2,
        "nothing": None, "empty": "", "inf": None, "un": 1,
    }  # fmt: skip


def test_csv(snapshot, tmp_path, capsys):
    console = Console(file=io.StringIO())
    command.answer(console, snapshot, "FROM pairs", "csv")
    assert capsys.readouterr().out == '"query_id","score","n"\n"q1",0.5,1\n"q2",,2\n'
    command.answer(console, snapshot, ODD, "csv", tmp_path / "odd.csv")
    header, row = (tmp_path / "odd.csv").read_text().splitlines()
    assert header == '"s","d","l","st","m","b","i","never","x","x_2","nothing","empty","inf","un"'
    assert row.startswith('3,1.50,"[""2020-01-02""]","{""a"": null}","{""k"": 1}","61",')


def test_parquet_and_tables_in_files(snapshot, tmp_path, capsys):
    console = Console(file=io.StringIO())
    command.answer(console, snapshot, ODD, "parquet", tmp_path / "odd.parquet")
    assert pq.read_table(tmp_path / "odd.parquet").column_names[8:10] == ["x", "x_2"]
    command.answer(console, snapshot, "SELECT repeat('x', 500) AS text FROM pairs", "table", tmp_path / "t.txt")
    assert "x" * 500 in (tmp_path / "t.txt").read_text()
    command.answer(console, snapshot, ODD, "table")
    assert "│ i       │ 3 days " in console.file.getvalue()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("output", "parameters", "message"),
    [
        ("cvs", [], "--format cvs: unknown"),
        ("parquet", [], "--format parquet needs a file"),
        ("table", ["q"], "--param q: not name=value"),
        ("table", ["1=2"], "--param 1=2: not name=value"),
        ("table", ["a=1", "a=2"], "--param a is given twice"),
    ],
)
def test_wrong_use_is_told_before_the_query(tmp_path, output, parameters, message):
    with pytest.raises(UsageError) as error:
        command.answer(Console(), tmp_path / "none.duckdb", "SELECT 1", output, None, parameters)
    assert error.value.message == message
    assert error.value.mend


def test_values_may_hold_anything():
    assert command.parse_parameters(["a=", "b==x=y", "_c=two\nlines"]) == {"a": "", "b": "=x=y", "_c": "two\nlines"}
