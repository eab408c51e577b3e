"""The feature ``judged``: a table of judgements beside the scored table."""

import pyarrow as pa

from tasks.features.judged import JudgedSettings
from tasks.features.task import features
from tasks.schema import JUDGEMENTS
from tasks.store.tables import keep_table
from tests.features.world import values, world
from tests.retrieve.build import context


def test_judgements_stand_beside_their_pairs_and_nothing_beside_the_others(tmp_path):
    setting = context(tmp_path)
    pairs = [("q1", "d1"), ("q1", "d2"), ("q1", "d3"), ("q2", "d1")]
    inputs = world(setting.storage, [{"doc_id": d} for d in ("d1", "d2", "d3")], [{"query_id": q} for q in ("q1", "q2")],
                   [{"query_id": query, "doc_id": document} for query, document in pairs], query_parts=2)  # fmt: skip
    said = [("q1", "d1", 0.75, "strong"), ("q1", "d2", None, ""), ("q2", "d1", 0.0, "cheap"), ("q9", "d1", 1.0, "cheap")]
    rows = [dict(zip(("query_id", "doc_id", "relevance", "decided_by"), one, strict=True)) for one in said]
    path, size, checksum = keep_table(setting.storage, "judged/toy", pa.Table.from_pylist(rows, JUDGEMENTS))
    wanted = {"judged": {"path": path, "bytes": size, "checksum": checksum}}
    found = values(setting.storage, inputs, features(setting, wanted, inputs)["judged"])
    assert found["judge_relevance"] == dict(zip(pairs, [0.75, None, None, 0.0], strict=True))
    assert found["judged_by"] == dict(zip(pairs, ["strong", None, None, "cheap"], strict=True))
    empty = values(setting.storage, inputs, features(setting, {"judged": JudgedSettings().model_dump()}, inputs)["judged"])
    assert set(empty["judge_relevance"].values()) == {None}
