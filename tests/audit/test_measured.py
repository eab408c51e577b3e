import pyarrow as pa
import pytest

from tasks import schema, sql
from tasks.audit.build import build_audit, latest_audit
from tasks.audit.measured import SUSPECTED
from tasks.audit.records import publish_round
from tasks.audit.views import MACROS
from tasks.sql import query_snapshot, sandboxed
from tests.audit.library import library
from tests.audit.world import decision, selection, stage


@pytest.fixture
def audit(world):
    library(world)
    build_audit(world.storage)
    return world


def ask(world, query, parameters=None):
    with sandboxed(latest_audit(world.storage)) as database:
        return [tuple(row.values()) for row in sql.ask(database, query, parameters).to_pylist()]


def test_views_and_macros_in_the_sandbox(audit):
    def rows(query, parameters=None):
        return [tuple(row.values()) for row in query_snapshot(latest_audit(audit.storage), query, parameters).to_pylist()]

    assert rows("SELECT doc_id, recipes FROM suspects($round, $n)", {"round": 1, "n": 1}) == [("b", ["top"])]
    assert rows("SELECT count(*) FROM why($query, $doc)", {"query": "q1", "doc": "e"}) == [(3,)]
    assert rows("SELECT shared_pairs FROM overlap") == [(3,), (5,)]
    comments = "SELECT DISTINCT function_name, comment FROM duckdb_functions() WHERE function_name IN ('why', 'suspects') ORDER BY ALL"
    assert rows(comments) == [(name, comment) for name, (_, comment) in sorted(MACROS.items())]
    assert ask(audit, "SELECT doc_id FROM suspects(2, 20)") == []


def test_query_difficulty(audit):
    query = """SELECT query_id, best_positive_rank, candidates_above, negatives, round(mean_negative_score, 4), round(rejected_share, 4)
        FROM query_difficulty WHERE selection_id = $selection ORDER BY query_id"""
    top = [  # q1: e of b c d e rejected; q2: d of c d f; q3: e of d e a
        ("q1", 2, 1, 2, 0.8, 0.25),
        ("q2", 1, 0, 2, 0.45, 0.3333),
        ("q3", 4, 3, 2, 0.8, 0.3333),
    ]
    careful = [("q1", 2, 1, 2, 0.65, 0.5), ("q2", 1, 0, 1, 0.8, 0.6667), ("q3", 4, 3, 1, 0.9, 0.6667)]
    assert ask(audit, query, {"selection": "s1"}) == top
    assert ask(audit, query, {"selection": "s2"}) == careful
    build_audit(audit.storage, row_limit=0)
    assert ask(audit, "SELECT count(*) FROM candidates WHERE doc_id = 'e'") == [(0,)]
    assert ask(audit, query, {"selection": "s1"}) == top
    assert ask(audit, query, {"selection": "s2"}) == careful


def test_a_query_without_positives_or_negatives_and_a_planted_document_above(world):
    first, _ = library(world)
    rows = [("p", 1, 0.9, True), ("x", 2, 0.8, False), ("a", 3, 0.7, False)]
    scored = [
        {
            "query_id": query,
            "doc_id": doc,
            "dense_rank": rank,
            "dense_score": score,
            "is_positive": doc == "a" and query == "q",
            "planted": planted,
        }
        for query in ("q", "none")
        for doc, rank, score, planted in rows
    ]
    ref = stage(world.storage, "scored", "scored-other", {"scored.parquet": pa.Table.from_pylist(scored, schema=schema.scored(["dense"]))})
    decisions = [decision("s9", doc, "positive" if doc == "a" else "not_drawn") for doc, *_ in rows]
    decisions += [{**decision("s9", doc, "not_drawn"), "query_id": "none"} for doc, *_ in rows]
    chosen = selection(world.storage, "s9", "top", decisions, "")
    publish_round(world.storage, first.model_copy(update={"dataset": "other", "number": 0, "selections": (chosen,), "stages": (ref,)}))
    build_audit(world.storage)
    found = ask(
        world,
        """SELECT query_id, best_positive_rank, candidates_above, negatives, mean_negative_score, rejected_share
        FROM query_difficulty WHERE dataset = 'other' ORDER BY query_id""",
    )
    assert found == [("none", None, None, 0, None, 0.0), ("q", 3, 1, 0, None, 0.0)]  # x, not the planted p
    assert ask(world, "SELECT count(*) FROM hubs WHERE dataset = 'other'") == [(0,)]  # written before use was counted


def test_what_nobody_measured_is_empty(world):
    world.both()
    build_audit(world.storage)
    for table in (
        "false_negatives",
        "calibration",
        "hardness",
        "slices",
        "suspected",
        "hubs",
        "suspect_zeros",
        "review_check",
        "staleness",
        "suspects(1, 9)",
    ):
        assert ask(world, f"SELECT count(*) FROM {table}") == [(0,)]
    assert ask(world, "SELECT typeof(at_first) FROM (FROM staleness UNION ALL BY NAME SELECT 0.5 AS at_first)") == [("DOUBLE",)]


def test_a_measure_whose_files_are_gone_leaves_its_tables_empty(world):
    library(world)
    world.storage.local_copy("data/measure/measure-s1/suspects.parquet", 0, "").unlink()
    build_audit(world.storage)
    assert ask(world, "SELECT DISTINCT recipe FROM false_negatives") == [("careful",)]
    assert ask(world, "SELECT DISTINCT recipe FROM suspected") == [("careful",)]


def test_columns_of_measures_are_those_that_are_documented(audit):
    columns = ask(audit, "SELECT column_name FROM duckdb_columns() WHERE table_name = 'suspected' ORDER BY column_index")
    assert [name for (name,) in columns] == SUSPECTED.names
    assert ask(audit, "SELECT place, doc_id FROM suspected WHERE recipe = 'careful' ORDER BY place") == [(1, "b"), (2, "d"), (3, "c")]


def test_a_fit_that_failed_says_why(world):
    first, _ = library(world)
    meta = {"auc": None, "brier": None, "ece": None, "source": "labels", "verdict": "too few labels"}
    ref = stage(world.storage, "calibrate", "none", {"reliability.parquet": schema.RELIABILITY.empty_table()}, meta)
    publish_round(world.storage, first.model_copy(update={"roles": {"calibrate": ref}}))
    build_audit(world.storage)
    assert ask(world, "SELECT round, verdict, source, auc, bin FROM calibration") == [(1, "too few labels", "labels", None, None)]


def test_measuring_and_calibrating_have_their_cost(audit):
    found = ask(audit, "SELECT stage, seconds FROM stages WHERE stage IN ('measure', 'calibrate', 'features-clusters') ORDER BY ALL")
    assert found == [("calibrate", 1.5), ("features-clusters", 1.5), ("measure", 1.5), ("measure", 1.5)]


def test_publishing_again_keeps_what_is_not_given_anew(world):
    first, _ = library(world)
    bare = first.model_copy(
        update={"selections": tuple(one.model_copy(update={"measures": None, "features": {}}) for one in first.selections)}
    )
    merged = publish_round(world.storage, bare.model_copy(update={"roles": {}}))
    assert merged.selections == first.selections
    assert merged.roles == first.roles
    measured = stage(world.storage, "measure", "measure-new", {})
    newer = bare.selections[0].model_copy(update={"measures": measured})
    assert publish_round(world.storage, bare.model_copy(update={"selections": (newer,)})).selection("s1").measures == measured


def test_a_calibration_on_a_review_stands_beside_the_one_on_labels(world):
    first, _ = library(world)
    bins = pa.Table.from_pylist([{"bin": 0, "predicted": 0.25, "observed": 0.5, "pairs": 40, "weight": 1.0}], schema.RELIABILITY)
    fit = {"source": "review", "verdict": "can tell", "auc": 0.75, "brier": 0.125, "ece": 0.25, "pairs": 40}
    refs = [
        stage(world.storage, "measure", f"reviewed-{auc}", {"reliability.parquet": bins}, {"calibration": fit | {"auc": auc}})
        for auc in (0.75, 0.875)
    ]
    labels = {"auc": 0.5, "brier": 0.5, "ece": 0.5, "verdict": "cannot tell", "source": "held-out labels, uncalibrated for counts"}
    old = stage(world.storage, "calibrate", "labels", {"reliability.parquet": bins}, labels)
    again = tuple(one.model_copy(update={"measures": ref}) for one, ref in zip(first.selections, refs, strict=True))
    publish_round(world.storage, first.model_copy(update={"selections": again, "roles": {"calibrate": old}}))
    build_audit(world.storage)
    found = ask(world, "SELECT recipe, source, verdict, auc, observed, pairs FROM calibration ORDER BY auc")  # each fit by its name
    assert found == [
        (None, "held-out labels, uncalibrated for counts", "cannot tell", 0.5, 0.5, 40),
        *((one.recipe, "review", "can tell", auc, 0.5, 40) for one, auc in zip(first.selections, (0.75, 0.875), strict=True)),
    ]
    assert ask(world, "SELECT selection_id FROM calibration ORDER BY auc") == [(None,), *((one.selection_id,) for one in first.selections)]
