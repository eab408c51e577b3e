"""What users' SQL may not do, and in which words it is told."""

import os
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from tasks import sql
from tasks.errors import StorageError, UsageError
from tasks.sql_process import Budget, ask_in_child

ROOT = Path(__file__).parents[2]
FILES = "a query sees the snapshot's own tables only"


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    path = tmp_path_factory.mktemp("snapshot") / "it's.duckdb"
    with sql.new_database(path) as database:
        database.execute("CREATE TABLE pairs AS SELECT range AS query_id, range * 0.1::FLOAT AS dense_score FROM range(5)")
        database.execute("CREATE TABLE rounds AS SELECT 1 AS round, 'top' AS recipe")
        database.execute("CREATE MACRO why(x) AS TABLE SELECT * FROM pairs WHERE query_id = x")
    return path


@pytest.fixture(scope="module")
def database(snapshot):
    with sql.sandboxed(snapshot) as database:
        yield database


@pytest.fixture
def outside(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,SECRET\n")
    with duckdb.connect(str(tmp_path / "other.duckdb")) as other:
        other.execute("CREATE TABLE t AS SELECT 'SECRET' AS a")
        other.execute(f"COPY t TO '{tmp_path / 'x.parquet'}'")
    return tmp_path


def refused(database, query, parameters=None):
    with pytest.raises(UsageError) as error:
        sql.ask(database, query, parameters)
    assert error.value.mend
    return error.value


@pytest.mark.fault("SQL that writes", "statements that insert, drop, attach, copy, install, set")
@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("INSERT INTO pairs VALUES (1, 1)", "INSERT"),
        ("UPDATE pairs SET query_id = 1", "UPDATE"),
        ("DELETE FROM pairs", "DELETE"),
        ("TRUNCATE pairs", "TRUNCATE"),
        ("MERGE INTO pairs USING rounds ON query_id = round WHEN MATCHED THEN DELETE", "MERGE"),
        ("WITH x AS (SELECT 1) INSERT INTO pairs SELECT 1, 1", "INSERT"),
        ("DROP TABLE pairs", "DROP"),
        ("CREATE TABLE t AS SELECT 1", "CREATE"),
        ("CREATE TEMP TABLE t AS SELECT 1", "CREATE"),
        ("CREATE MACRO f(x) AS x", "CREATE"),
        ("ALTER TABLE pairs ADD COLUMN x INT", "ALTER"),
        ("COMMENT ON TABLE pairs IS 'x'", "COMMENT"),
        ("ATTACH 'other.duckdb'", "ATTACH"),
        ("DETACH audit", "DETACH"),
        ("COPY pairs TO '/tmp/x.csv'", "COPY"),
        ("COPY pairs FROM '/tmp/x.csv'", "COPY"),
        ("EXPORT DATABASE '/tmp/x'", "EXPORT"),
        ("IMPORT DATABASE '/tmp/x'", "IMPORT"),
        ("INSTALL httpfs", "INSTALL"),
        ("FORCE INSTALL httpfs", "INSTALL"),
        ("LOAD httpfs", "LOAD"),
        ("SET memory_limit = '100GB'", "SET"),
        ("SET enable_external_access = true", "SET"),
        ("SET VARIABLE x = 1", "SET"),
        ("RESET memory_limit", "RESET"),
        ("RESET ALL", "RESET"),
        ("USE memory", "USE"),
        ("PRAGMA threads = 8", "PRAGMA"),
        ("PRAGMA enable_profiling", "PRAGMA"),
        ("PRAGMA table_info('pairs')", "PRAGMA"),
        ("PRAGMA database_list", "PRAGMA"),
        ("PRAGMA enable_external_access", "PRAGMA"),
        ("PRAGMA import_database('/tmp/x')", "PRAGMA"),
        ("PRAGMA json_execute_serialized_sql('x')", "PRAGMA"),
        ("CALL enable_logging()", "CALL"),
        ("CHECKPOINT", "CHECKPOINT"),
        ("BEGIN", "BEGIN"),
        ("VACUUM", "VACUUM"),
        ("PREPARE q AS SELECT 1", "PREPARE"),
        ("EXECUTE q", "EXECUTE"),
        ("EXPLAIN ANALYZE SELECT 1", "EXPLAIN"),
        ("-- a word\n/* INSERT */ install httpfs", "INSTALL"),
    ],
)
def test_only_select(database, query, word):
    error = refused(database, query)
    assert error.message == f"{word} is not allowed"
    assert "give one SELECT statement" in error.mend


@pytest.mark.parametrize(
    ("query", "count"), [("SELECT 1; SELECT 2", 2), ("SELECT 1; DROP TABLE pairs", 2), ("", 0), ("-- nothing", 0), (";;", 0)]
)
def test_exactly_one_statement(database, query, count):
    error = refused(database, query)
    assert (error.message, error.mend) == (f"{count} statements given, exactly one is run", "give one SELECT statement")


def test_pivot_says_what_it_needs(database):
    assert refused(database, "PIVOT rounds ON recipe USING count(*)").message == "PIVOT needs its values here"
    assert sql.ask(database, "PIVOT rounds ON recipe IN ('top') USING count(*) GROUP BY round").to_pylist() == [{"round": 1, "top": 1}]


@pytest.mark.fault("SQL that reads other files", "paths, globs, functions and databases within a SELECT")
@pytest.mark.parametrize(
    "source",
    [
        "read_csv('{}/x.csv')",
        "read_csv_auto('{}/x.csv')",
        "read_parquet('{}/x.parquet')",
        "parquet_metadata('{}/x.parquet')",
        "read_text('{}/x.csv')",
        "read_blob('{}/x.csv')",
        "read_json('{}/x.csv')",
        "read_duckdb('{}/other.duckdb')",
        "glob('{}/*')",
        "sniff_csv('{}/x.csv')",
        "system.main.read_text('{}/x.csv')",
        "query('SELECT * FROM ''{}/x.csv''')",
        "query_table('{}/x.csv')",
        "arrow_scan(1, 2, 3)",
        "duckdb_secrets()",
        "'{}/x.csv'",
        "'{}/x.parquet'",
        "'{}/other.duckdb'",
        "'{}/x.txt'",
        "'/proc/self/environ'",
        "'https://localhost/x.parquet'",
        "'s3://bucket/x.csv'",
    ],
)
@pytest.mark.parametrize("query", ["SELECT * FROM {}", "SELECT 1 WHERE EXISTS (SELECT 1 FROM {} t)", "SUMMARIZE SELECT * FROM {}"])
def test_no_other_file_is_read(database, outside, source, query):
    error = refused(database, query.format(source.format(outside)))
    assert "not allowed" in error.message
    assert FILES in error.mend
    assert str(outside) not in f"{error.message}{error.mend}"
    assert "SECRET" not in f"{error.message}{error.mend}"


def test_a_select_in_a_pragma_is_none(database, outside):
    """The engine would turn it into the SELECT that it holds."""
    query = f"SELECT * FROM read_text('{outside}/x.csv')".replace("'", "''")
    (row,) = sql.ask(database, f"SELECT json_serialize_sql('{query}')::VARCHAR AS tree").to_pylist()
    hidden = row["tree"].replace("'", "''")
    assert refused(database, f"PRAGMA json_execute_serialized_sql('{hidden}')").message == "PRAGMA is not allowed"
    assert refused(database, f"FROM json_execute_serialized_sql('{hidden}')").message.startswith("there is no table function")


@pytest.mark.fault("SQL functions that act", "called within a SELECT")
@pytest.mark.parametrize(
    "call",
    ["enable_logging(storage := 'file', storage_path := '{}')", "enable_profiling(save_location := '{}/p.json')", "checkpoint('audit')"],
)
def test_functions_that_act_are_refused_within_a_select_too(database, tmp_path, call):
    for name in (call, "system.main." + call, call.upper().replace("'{}", "'{}")):
        error = refused(database, f"SELECT * FROM {name.format(tmp_path)}")
        assert error.message == f"there is no table function '{call.split('(')[0]}' here"
    assert sql.ask(database, "SELECT 1 AS one").to_pylist() == [{"one": 1}]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("query", ["SELECT getenv('HOME')", "SELECT current_setting('temp_directory')", "SELECT write_log('x')"])
def test_functions_that_tell_of_the_machine(database, query):
    assert refused(database, query).message.endswith("is not available here")


def test_the_folder_for_temporary_space_is_nobody_elses(snapshot, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "hardmine-sql").mkdir()
    (tmp_path / "hardmine-sql" / "x.csv").write_text("SECRET\n")
    with sql.sandboxed(snapshot, Budget(memory=30_000_000, spill=50_000_000)) as database:
        refused(database, f"SELECT * FROM '{tmp_path}/hardmine-sql/x.csv'")
        spilt = sql.ask(database, "SELECT count(*) AS n FROM (SELECT hash(range) AS h FROM range(2000000) ORDER BY h)").to_pylist()
    assert spilt == [{"n": 2_000_000}]
    assert [path.name for path in tmp_path.iterdir()] == ["hardmine-sql"]


def test_variables_of_python_are_no_tables(database):
    some_local_variable = pa.table({"secret": ["SECRET"]})
    error = refused(database, "SELECT * FROM some_local_variable")
    assert (error.message, error.mend) == ("there is no table 'some_local_variable'", "known: pairs, rounds")
    assert some_local_variable.num_rows == 1


@pytest.mark.parametrize(
    ("query", "message", "mend"),
    [
        ("SELECT * FROM pears", "there is no table 'pears'", "did you mean 'pairs'?"),
        ("SELECT * FROM audit.pears", "there is no table 'pears'", "did you mean 'pairs'?"),
        ("DESCRIBE round", "there is no table 'round'", "did you mean 'rounds'?"),
        ("SELECT dence_score FROM pairs", "there is no column 'dence_score'", "did you mean 'dense_score'? (a text has single quotes)"),
        ("SELECT p.qid FROM pairs p", "there is no column 'qid'", "did you mean 'query_id'? (a text has single quotes)"),
        ('SELECT * FROM rounds WHERE recipe = "zzz"', "there is no column 'zzz'", "known: recipe, round (a text has single quotes)"),
        ("SELECT * FROM pairs JOIN rounds USING (roun)", "there is no column 'roun'", "did you mean 'round'? (a text has single quotes)"),
        ("SELECT pair.query_id FROM pairs", "the query's FROM has no table 'pair'", "did you mean 'pairs'?"),
        ("SELECT smu(round) FROM rounds", "there is no function 'smu' here", "did you mean 'sum'?"),
        ("SELECT * FROM wyh(1)", "there is no table function 'wyh' here", "did you mean 'why'?"),
        (
            "SELECT recipe",
            "there is no column 'recipe': the query has no FROM",
            "name the table, one of pairs, rounds (a text has single quotes)",
        ),
        ("SELECT * FROM pairs WHERE query_id = $q", "no value for $q", "give it: --param q=value"),
        ("SELECT * FROM pairs WHERE query_id = ?", "1 values are missing for ?", "write $name for ?, and give --param name=value"),
    ],
)
def test_unknown_names_get_the_nearest(database, query, message, mend):
    error = refused(database, query)
    assert (error.message, error.mend) == (message, mend)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT round FROM", "SQL: Parser Error: syntax error at end of input"),
        ("SELEC 1", 'SQL: Parser Error: syntax error at or near "SELEC"'),
        ("SELECT 'x'::INTEGER", "SQL: Conversion Error: Could not convert string 'x' to INT32"),
        ("SELECT " + "1-" * 5000 + "1", "SQL: Parser Error: Max expression depth limit of 1000 exceeded."),
        ("SELECT " + "(" * 50_000, 'SQL: Parser Error: memory exhausted at or near "("'),
        ("SELECT error('boom')", "SQL: Invalid Input Error: boom"),
    ],
)
def test_wrong_sql_is_told_in_one_line(database, query, message):
    assert refused(database, query).message == message


def test_parameters_take_the_type_they_meet(database):
    query = "SELECT query_id FROM pairs WHERE dense_score > $least AND query_id <> $not ORDER BY 1 LIMIT $n"
    assert sql.ask(database, query, {"least": "0.05", "not": "2", "n": "2"})["query_id"].to_pylist() == [1, 3]
    assert sql.ask(database, "SELECT * FROM why($q)", {"q": "3"}).num_rows == 1
    assert sql.ask(database, "SELECT $t AS t", {"t": "x'); DROP TABLE pairs; --"}).to_pylist() == [{"t": "x'); DROP TABLE pairs; --"}]
    assert refused(database, "SELECT 1", {"q": "3"}).message == "the query has no $q"
    assert refused(database, "SELECT abs($q)", {"q": "3"}).mend == "say it, as in $name::INTEGER or $name::DOUBLE"


RUNAWAYS = {
    "cross join": ("SELECT count(*) FROM range(1000000) a, range(1000000) b, range(1000000) c", "more than 1 s and was stopped"),
    "endless recursion": (
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        "more than 1 s and was",
    ),
    "a list of all": ("SELECT list(a.range) FROM range(100000000) a, range(10) b", "more memory or temporary space"),
    "growing recursion": (
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT 1 FROM t, range(1000)) SELECT count(*) FROM t",
        "more memory or",
    ),
    "spilling": ("SELECT DISTINCT a.range FROM range(10000000000) a", "more memory or temporary space"),
    "one huge list": ("SELECT len(range(400000000)) AS n", "more memory or temporary space"),
    "one huge text": ("SELECT len(repeat('x', 2000000000)) AS n", "more memory or temporary space"),
    "a huge result": ("SELECT range FROM range(10000000000)", "the result is larger than 50 MB|more memory or temporary space"),
}


@pytest.mark.fault("SQL without end", "cross joins, endless recursion, more memory than there is")
@pytest.mark.parametrize("name", RUNAWAYS)
def test_runaway_queries_end_with_a_word(snapshot, name):
    query, message = RUNAWAYS[name]
    seconds = 1 if "more than 1 s" in message else 60
    began = time.monotonic()
    with pytest.raises(UsageError, match=message) as error:
        ask_in_child(snapshot, query, None, Budget(seconds=seconds, memory=150_000_000, spill=150_000_000, result=50_000_000))
    assert error.value.mend
    assert time.monotonic() - began < seconds + 15


def test_a_query_that_cannot_be_interrupted_is_killed(snapshot, monkeypatch):
    monkeypatch.setattr("tasks.sql_process._GRACE", 1.5)
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"more than 0\.5 s and was stopped"):
        sql.query_snapshot(snapshot, "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))", timeout=0.5)
    assert time.monotonic() - began < 10


def test_a_child_leaves_nothing_behind(snapshot, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert sql.query_snapshot(snapshot, "SELECT recipe, $x AS x FROM rounds", {"x": "1"}).to_pylist() == [{"recipe": "top", "x": "1"}]
    with pytest.raises(UsageError, match="no table 'x'"):
        sql.query_snapshot(snapshot, "FROM x")
    with pytest.raises(StorageError, match="no such snapshot"):
        sql.query_snapshot(tmp_path / "none.duckdb", "FROM x")
    with pytest.raises(UsageError, match="a parameter cannot be given"):
        sql.query_snapshot(snapshot, "SELECT $x", {"x": b"1"})
    assert list(tmp_path.iterdir()) == []


READER = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as database:
    print(database.execute("SELECT count(*) FROM pairs").fetchone()[0], flush=True)
    sys.stdin.readline()
"""


def test_any_client_reads_while_others_read(snapshot):
    command = [sys.executable, "-c", READER, str(snapshot)]
    readers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=dict(os.environ))
        for _ in range(2)
    ]
    try:
        assert [reader.stdout.readline().strip() for reader in readers] == ["5", "5"]  # both hold it open now
        assert sql.query_snapshot(snapshot, "SELECT count(*) AS n FROM pairs").to_pylist() == [{"n": 5}]
        with duckdb.connect(str(snapshot), read_only=True) as third:
            assert third.execute("SELECT count(*) FROM pairs").fetchone() == (5,)
    finally:
        for reader in readers:
            reader.communicate("\n", timeout=20)
    assert [reader.returncode for reader in readers] == [0, 0]
