import time

import duckdb
import pyarrow as pa
import pytest

from tasks import sql
from tasks.errors import StorageError, UsageError


@pytest.fixture
def snapshot(tmp_path):
    path = tmp_path / "it's.duckdb"
    with sql.new_database(path) as database:
        database.execute(
            "CREATE TABLE numbers AS SELECT range AS n FROM range(5); CREATE MACRO above(x) AS TABLE SELECT n FROM numbers WHERE n > x"
        )
    return path


def test_run_reads_registered_tables_only():
    table = pa.table({"id": ["b", "a"], "x": [1.5, 2.5]})
    assert sql.run("SELECT id, x * $k AS y FROM t ORDER BY id", {"t": table}, {"k": 2}).to_pydict() == {"id": ["a", "b"], "y": [5.0, 3.0]}
    with pytest.raises(UsageError, match="table"):
        sql.run("SELECT * FROM table_of_this_function", {})


def test_a_wrong_expression_is_the_users_error():
    with pytest.raises(UsageError, match="nosuch"):
        sql.run("SELECT * FROM t WHERE nosuch > 1", {"t": pa.table({"x": [1]})})
    with pytest.raises(UsageError, match="syntax error"):
        sql.run("SELECT * FROM t WHERE", {"t": pa.table({"x": [1]})})


@pytest.mark.parametrize("text", ["plain", "it's", '"quoted"', "x'); DROP TABLE t; --", "naïve ✓", "a\\b", ""])
def test_quoting_survives_anything(text):
    name = sql.quote_identifier(text or "empty")
    assert sql.run(f"SELECT {sql.quote_literal(text)} AS {name}", {}).to_pydict() == {text or "empty": [text]}
    with pytest.raises(UsageError):
        sql.quote_literal("a\x00b")


def test_a_snapshot_is_read(snapshot):
    assert sql.query_snapshot(snapshot, "SELECT sum(n) AS s FROM above(?)", [1]).to_pydict() == {"s": [9]}
    assert sql.query_snapshot(snapshot, "SHOW TABLES").to_pydict() == {"name": ["numbers"]}
    assert sql.query_snapshot(snapshot, "FROM numbers LIMIT 1;").num_rows == 1


def test_the_snapshot_is_read_only_and_its_settings_are_locked(snapshot):
    with sql.sandboxed(snapshot) as database:
        for statement in ("INSERT INTO numbers VALUES (1)", "SET enable_external_access = true"):
            with pytest.raises(duckdb.Error):
                database.execute(statement)


def test_a_long_query_is_stopped(snapshot):
    began = time.monotonic()
    with sql.sandboxed(snapshot) as database:
        with pytest.raises(UsageError, match=r"more than 0.3 s"):
            sql.ask(database, "SELECT count(*) FROM range(10000000000) a WHERE a.range % 7 = hash(a.range) % 11", timeout=0.3)
        assert time.monotonic() - began < 10
        assert sql.ask(database, "SELECT 1 AS one").to_pydict() == {"one": [1]}


def test_no_snapshot(tmp_path):
    with pytest.raises(StorageError, match="no such snapshot"):
        sql.sandboxed(tmp_path / "none.duckdb")
    (tmp_path / "bad.duckdb").write_bytes(b"x" * 5000)
    with pytest.raises(StorageError, match="not a snapshot"):
        sql.sandboxed(tmp_path / "bad.duckdb")


@pytest.mark.fault("a recipe's expression that reads a file", "functions and paths in `where:`")
@pytest.mark.parametrize(
    "expression",
    [
        "(SELECT content FROM read_text('{path}')) = 'x'",
        "EXISTS (FROM read_csv('{path}'))",
        "EXISTS (FROM '{path}')",
        "EXISTS (FROM glob('{path}'))",
    ],
)
def test_an_expression_of_a_recipe_reads_no_file(tmp_path, expression):
    path = tmp_path / "secret.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="SQL: "):
        sql.run(f"SELECT n FROM t WHERE {expression.format(path=path)}", {"t": pa.table({"n": [1]})})
