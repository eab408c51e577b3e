import duckdb
import pytest

from tasks.audit.build import build_audit, latest_audit
from tasks.audit.records import publish_round
from tasks.errors import StorageError
from tasks.sql import query_snapshot
from tasks.store.local import LocalStorage
from tasks.store.pointers import read_pointer, update_pointer


def ask(world, query, parameters=None):
    return query_snapshot(latest_audit(world.storage), query, parameters).to_pylist()


@pytest.fixture
def audit(world):
    world.both()
    build_audit(world.storage)
    return world


def test_rounds(audit):
    assert ask(audit, "SELECT * EXCLUDE (created, candidate_set_id) FROM rounds ORDER BY round") == [
        {
            "dataset": "toy",
            "round": number,
            "selection_id": f"s{number}",
            "recipe": recipe,
            "documents": 4,
            "queries": 1,
            "candidates": candidates,
            "training_rows": rows,
            "num_negatives": 2,
            "pairs_here": True,
            "sampled": 1.0,
            "settings": '{"seed": 0}',
        }
        for number, recipe, candidates, rows in [(1, "top", 4, 3), (2, "rocketqa", 3, 2)]
    ]


def test_pairs_of_all_rounds_in_one_table(audit):
    found = ask(
        audit, "SELECT round, doc_id, dense_rank, round(dense_score, 2) AS s, bm25_rank FROM candidates WHERE doc_id = 'b' ORDER BY round"
    )
    assert [tuple(row.values()) for row in found] == [(1, "b", 3, pytest.approx(0.6), None), (2, "b", None, pytest.approx(0.4), 1)]
    assert ask(audit, "SELECT count(*) AS n FROM decisions") == [{"n": 7}]
    assert ask(audit, 'SELECT count(*) AS n FROM "rows" WHERE slot > 0') == [{"n": 3}]
    assert ask(audit, "SELECT stage, file, line, reason, count(*) AS n FROM rejected_input GROUP BY ALL") == [
        {"stage": "documents", "file": "docs.jsonl", "line": 3, "reason": "empty_text", "n": 2}
    ]


def test_why(audit):
    found = ask(audit, "SELECT round, recipe, decision, reason, reasons, slot, training_rows, dense_rank FROM why('q', 'c')")
    assert [tuple(row.values()) for row in found] == [
        (1, "top", "rejected", "max_score", ["max_score", "duplicate"], None, 0, 2),
        (2, "rocketqa", "negative", "drawn", [], 1, 1, 2),
    ]
    assert ask(audit, "SELECT * FROM why('q', 'nothing')") == []


def test_views(audit):
    assert [tuple(row.values()) for row in ask(audit, "SELECT round, reason, first_count, any_count, share FROM rejections_by_reason")] == [
        (1, "max_score", 1, 1, 1.0),
        (1, "duplicate", 0, 1, 0.0),
        (2, "duplicate", 1, 1, 1.0),
    ]
    assert [tuple(row.values()) for row in ask(audit, "SELECT round, queries, served, share FROM yield")] == [
        (1, 1, 1, 1.0),
        (2, 1, 0, 0.0),
    ]
    cost = ask(audit, "SELECT round, reused, seconds, model_calls FROM cost_by_stage WHERE stage = 'embed-documents'")
    assert [tuple(row.values()) for row in cost] == [(1, False, 1.5, 4), (2, True, 0.0, 0)]
    counts = ask(audit, "SELECT round, decision, pairs FROM decision_counts ORDER BY ALL")
    assert [tuple(row.values()) for row in counts] == [
        (1, "negative", 2),
        (1, "positive", 1),
        (1, "rejected", 1),
        (2, "negative", 1),
        (2, "positive", 1),
        (2, "rejected", 1),
    ]


def test_every_column_can_be_named_without_quotes(audit):
    """``left`` could not: it is a word of joins."""
    taken = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('reserved', 'type_function')"
    assert ask(audit, f"SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND column_name IN ({taken})") == []


def test_every_table_and_column_is_documented(audit):
    assert ask(audit, "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND coalesce(comment, '') = ''") == []
    assert ask(audit, "SELECT table_name FROM duckdb_tables() WHERE coalesce(comment, '') = ''") == []
    assert ask(audit, "SELECT view_name FROM duckdb_views() WHERE NOT internal AND coalesce(comment, '') = ''") == []
    assert "A feature of the pair." not in str(ask(audit, "SELECT comment FROM duckdb_columns()"))


def test_a_snapshot_is_built_once_and_read_while_the_next_is_built(world):
    publish_round(world.storage, world.first())
    name = build_audit(world.storage)
    assert build_audit(world.storage) == name
    with duckdb.connect(str(latest_audit(world.storage)), read_only=True) as reader:
        publish_round(world.storage, world.second())
        assert build_audit(world.storage) != name
        assert reader.execute("SELECT max(round) FROM rounds").fetchone() == (1,)
    assert ask(world, "SELECT max(round) AS n FROM rounds") == [{"n": 2}]
    assert list(world.storage.scratch().iterdir()) == []


class Overtaken(LocalStorage):
    """A root where another round is published just before the first snapshot is put."""

    def __init__(self, root, publish):
        super().__init__(root)
        self.publish = publish
        self.put = []

    def put_file(self, name, local):
        if name.startswith("audit/"):
            if not self.put:
                self.publish()
            self.put.append(name)
        super().put_file(name, local)


def test_a_losing_builder_builds_again(world):
    publish_round(world.storage, world.first())
    storage = Overtaken(world.storage.root, lambda: publish_round(world.storage, world.second()))
    assert build_audit(storage) == storage.put[1]
    assert len(storage.put) == 2
    assert ask(world, "SELECT count(*) AS n FROM rounds") == [{"n": 2}]


def test_over_the_limit_what_was_decided_stays_and_counts_are_exact(world):
    world.both()
    build_audit(world.storage, row_limit=0)
    assert ask(world, "SELECT decision, count(*) AS n FROM decisions GROUP BY ALL ORDER BY ALL") == [
        {"decision": "negative", "n": 3},
        {"decision": "positive", "n": 2},
    ]
    assert ask(world, "SELECT round, doc_id FROM candidates ORDER BY ALL") == [
        {"round": r, "doc_id": d} for r, d in [(1, "a"), (1, "b"), (1, "d"), (2, "a"), (2, "c")]
    ]
    assert ask(world, "SELECT sum(any_count)::INTEGER AS n FROM rejections") == [{"n": 3}]
    assert ask(world, "SELECT DISTINCT sampled FROM rounds") == [{"sampled": 0.0}]


def test_rounds_whose_files_are_gone_keep_their_facts(world):
    _, second = world.both()
    (latest := world.storage.local_copy("data/scored/scored-c2/scored.parquet", 0, "")).unlink()
    assert not latest.exists()
    build_audit(world.storage)
    assert ask(world, "SELECT round, pairs_here, candidates FROM rounds ORDER BY round") == [
        {"round": 1, "pairs_here": True, "candidates": 4},
        {"round": second.number, "pairs_here": False, "candidates": 3},
    ]
    assert ask(world, "SELECT DISTINCT round FROM candidates") == [{"round": 1}]


def test_nothing_yet_and_a_lost_file(world):
    with pytest.raises(StorageError, match="no audit yet"):
        latest_audit(world.storage)
    build_audit(world.storage)
    assert ask(world, "SELECT (SELECT count(*) FROM rounds) + (SELECT count(*) FROM candidates) AS n") == [{"n": 0}]
    latest_audit(world.storage).unlink()
    build_audit(world.storage)
    assert latest_audit(world.storage).exists()
    update_pointer(world.storage, "audit", lambda present: {**present, "bytes": 1})
    assert read_pointer(world.storage, "audit")["bytes"] == 1
    with pytest.raises(StorageError, match="damaged"):
        latest_audit(world.storage)
