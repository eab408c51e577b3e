"""Planted positives in a whole round: nothing but the measuring of survival knows that they are relevant."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flows.mine import mine_round
from flows.settings import MineSettings
from flows.stored import find_round, stored_stage, stored_table
from tasks.models.settings import TeacherTraining
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.storage import open_storage
from tasks.store.tables import read_parts
from tasks.train.teacher import choose
from tests.e2e.conftest import write_collection
from tests.runner.test_runner import Recorder


def mine(root, collection):
    settings = {
        "root": str(root),
        "dataset": {"name": "small", "format": "beir", "path": str(collection), "document_partitions": 2, "query_partitions": 2},
        "model": {"path": "packaged", "max_length": 32, "dtype": "float32", "device": "cpu"},
        "retrieve": {"dense": {"top_k": 20}},
        "recipe": {"name": "hardmine", "depth": 20, "bm25_depth": 5},
        "teacher": None,
        "num_negatives": 2,
        "planted": 0.5,
        "seed": 1,
    }
    context = Context(open_storage(str(root)), lambda: InlineExecutor(1), Recorder())
    result = mine_round(MineSettings.model_validate(settings), context)
    return context.storage, find_round(context.storage, result.round)


def sampled(storage, record):
    """What a teacher would be trained and measured on: all but the labels of what it is not asked about."""
    candidates, queries = (stored_stage(storage, record.stage(name)).parts for name in ("candidates", "queries"))
    table, chosen = choose(storage, candidates, queries, TeacherTraining(negatives=4, min_rank=8, max_rank=20), ["dense"])
    pairs = {"query": table["query_hash"].take(pa.array(chosen.rows)), "document": table["doc_hash"].take(pa.array(chosen.docs))}
    return pa.table({**pairs, "label": chosen.labels, "held": chosen.holdout})


def test_a_planted_label_is_as_none(tmp_path):
    """The same collection without the planted labels: the same scores, positive_*, label evidence and teacher's sample, to the byte."""
    hidden, missing = (write_collection(tmp_path / name / "beir") for name in ("hidden", "missing"))
    storage, record = mine(tmp_path / "one", hidden)
    table = read_parts(storage, stored_table(storage, record).scored, "scored.parquet")
    planted = table.filter(table["planted"])
    assert 5 < planted.num_rows < 48
    # all were retrieved, so that their rows stay; and before the ranks that a teacher's negatives are drawn from
    assert pc.max(planted["dense_rank"]).as_py() < 8 and planted["dense_rank"].null_count == 0
    pairs = set(zip(planted["query_id"].to_pylist(), planted["doc_id"].to_pylist(), strict=True))
    file = missing / "qrels" / "test.tsv"
    kept = [line for line in file.read_text().splitlines(keepends=True) if tuple(line.split()[:2]) not in pairs]
    file.write_text("".join(kept))
    others, again = mine(tmp_path / "two", missing)
    plain = read_parts(others, stored_table(others, again).scored, "scored.parquet")
    assert not pc.any(plain["planted"]).as_py() and plain["relevance"].null_count == table["relevance"].null_count + len(pairs)
    assert any(name.startswith("positive_") for name in plain.column_names)
    assert plain.drop_columns(["planted", "relevance"]).equals(table.drop_columns(["planted", "relevance"]))
    evidence = [
        read_parts(root, stored_stage(root, one.selections[-1].features["evidence"]).parts, "features.parquet")
        for root, one in ((storage, record), (others, again))
    ]
    assert evidence[0].equals(evidence[1]) and evidence[0]["label_evidence"].null_count < evidence[0].num_rows
    first, second = sampled(storage, record), sampled(others, again)
    assert first.equals(second) and first["label"].to_numpy().sum() == pytest.approx(table.filter(table["is_positive"]).num_rows)
