"""The teacher's order of the retrieved documents beside the retriever's."""

import pyarrow as pa
import pytest

from tasks.errors import InputError
from tasks.evaluate import rerank
from tasks.evaluate.settings import EvaluateSettings
from tasks.runner.runner import run_job
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.storage import open_storage
from tasks.store.tables import read_table

PAIRS = [  # query, document, relevance, dense rank, dense score, teacher's logit
    ("a", "good", 1, 2, 0.8, 3.0),  # the teacher lifts it from 2 to 1
    ("a", "bad", None, 1, 0.9, -1.0),
    ("a", "labelled", 1, None, 0.1, 9.0),  # relevant, and not retrieved: neither may rank it
    ("b", "good", 1, 1, 0.9, -2.0),  # the teacher lowers it to 2
    ("b", "bad", None, 2, 0.8, -1.0),
    ("b", "unscored", None, 3, 0.7, None),
    ("c", "good", 1, 1, 0.9, 5.0),  # of split train
]
NAMES = ("query_id", "doc_id", "relevance", "dense_rank", "dense_score", "teacher_logit")


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path))


def put(storage, name, table):
    out = Output(storage, f"data/{name}")
    out.table(name, table)
    return Part(stage=name, key=name, index="q0000", files=tuple(out.files))


def job(storage, split="dev", **more):
    types = [pa.string(), pa.string(), pa.int32(), pa.int32(), pa.float32(), pa.float32()]
    scored = pa.table([pa.array(list(column), kind) for column, kind in zip(zip(*PAIRS, strict=True), types, strict=True)], NAMES)
    queries = pa.table({"query_id": ["a", "b", "c"], "split": ["dev", "Dev", "train"], "group": pa.nulls(3, pa.string())})
    parts = put(storage, "scored.parquet", scored), put(storage, "queries.parquet", queries)
    settings = EvaluateSettings(split=split, measures=("MRR@10", "Recall@10"), resamples=50, **more)
    return rerank.jobs([parts[0]], [parts[1]], settings)[0]


def test_both_rank_what_was_retrieved_and_scored(storage):
    part = run_job(storage.root, rerank.STAGE, job(storage), lambda _: None)
    table = read_table(storage, part.file("metrics.parquet"))
    rows = {(row["query_id"], row["measure"]): (row["teacher"], row["retriever"]) for row in table.to_pylist()}
    assert rows == {
        ("a", "MRR@10"): (1.0, 0.5),
        ("b", "MRR@10"): (0.5, 1.0),
        ("a", "Recall@10"): (0.5, 0.5),  # one of two was retrieved
        ("b", "Recall@10"): (1.0, 1.0),
    }
    assert part.meta["queries"] == 2
    assert part.meta["measures"]["MRR@10"]["mean"] == 0.75
    assert part.meta["gain"]["MRR@10"]["mean"] == 0.0


def test_a_split_without_queries_is_refused(storage):
    with pytest.raises(InputError, match="calibration"):
        run_job(storage.root, rerank.STAGE, job(storage, split="calibration"), lambda _: None)
