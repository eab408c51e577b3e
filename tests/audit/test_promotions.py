from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from tasks.audit.build import build_audit, latest_audit
from tasks.audit.promotions import promoted_pairs, publish_promotion, read_promotions, standing_pairs, withdraw_promotions
from tasks.schema import PROMOTIONS
from tasks.sql import query_snapshot
from tasks.store.storage import open_storage
from tests.audit.world import new_world


def pairs(*given):
    return pa.Table.from_pylist(
        [{"query_id": "q", "doc_id": doc, "score": 1.5, "signals": ["review", "teacher"]} for doc in given], PROMOTIONS
    )


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path / "root"))


def publish(storage, *given, number=1):
    return publish_promotion(storage, "toy", number, f"c{number}", {"per_query": 3}, pairs(*given))


def test_promotions_stand_until_they_are_withdrawn(storage):
    first, second, third = publish(storage, "b", "a"), publish(storage, "c", number=2), publish(storage, "a", number=2)
    assert [(one.number, one.round, one.candidate_set_id, one.pairs, one.queries) for one in (first, second, third)] == [
        (1, 1, "c1", 2, 1), (2, 2, "c2", 1, 1), (3, 2, "c2", 1, 1),
    ]  # fmt: skip
    assert read_promotions(storage, "toy") == [first, second, third]
    assert promoted_pairs(storage, first)["doc_id"].to_pylist() == ["b", "a"]
    assert standing_pairs(storage, "toy")["doc_id"].to_pylist() == ["a", "b", "c"]  # a stands twice
    assert [one.number for one in withdraw_promotions(storage, "toy", lambda one: one.round == 1)] == [1]
    assert standing_pairs(storage, "toy")["doc_id"].to_pylist() == ["a", "c"]
    assert withdraw_promotions(storage, "toy", lambda one: one.round == 1) == []
    kept = read_promotions(storage, "toy")
    assert (bool(kept[0].withdrawn), kept[1:]) == (True, [second, third])
    assert publish(storage, "d").number == 4
    assert (read_promotions(storage, "else"), standing_pairs(storage, "else").num_rows) == ([], 0)


@pytest.mark.fault("promoters at once", "threads that promote")
def test_promoters_at_once_lose_nothing(storage):
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda number: publish(storage, f"d{number}"), range(6)))
    assert [one.number for one in read_promotions(storage, "toy")] == [1, 2, 3, 4, 5, 6]
    assert standing_pairs(storage, "toy")["doc_id"].to_pylist() == [f"d{number}" for number in range(6)]


def test_the_snapshot_shows_them(tmp_path):
    world = new_world(tmp_path)
    world.both()
    build_audit(world.storage)
    assert query_snapshot(latest_audit(world.storage), "SELECT * FROM promotions").num_rows == 0
    publish(world.storage, "c", number=1)
    publish(world.storage, "d", number=2)
    withdraw_promotions(world.storage, "toy", lambda one: one.number == 2)
    build_audit(world.storage)  # a promotion is another version of the snapshot
    sql = (
        "SELECT dataset, round, number, doc_id, score, signals, teacher_margin, withdrawn IS NULL AS stands FROM promotions ORDER BY number"
    )
    assert [tuple(row.values()) for row in query_snapshot(latest_audit(world.storage), sql).to_pylist()] == [
        ("toy", 1, 1, "c", 1.5, ["review", "teacher"], None, True),
        ("toy", 2, 2, "d", 1.5, ["review", "teacher"], None, False),
    ]
