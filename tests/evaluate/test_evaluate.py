"""Three queries and five documents, by hand. Document n is the n-th unit vector, so a query's vector is its scores."""

import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from tasks.errors import InputError, UsageError
from tasks.evaluate.intervals import compare, intervals, resampled_means
from tasks.evaluate.search import Block, search
from tasks.evaluate.settings import EvaluateSettings
from tasks.evaluate.stage import METRICS, SLICES, STAGE, jobs
from tasks.runner.runner import run_job
from tasks.schema import DOCS, QRELS, QUERIES, scored
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.storage import open_storage
from tasks.store.tables import read_table

MEASURES = ("nDCG@3", "MRR@3", "Recall@2")

QUERIES_OF = [  # id, split, scores of d0 … d4, judgements
    ("a", "dev", [5, 4, 3, 2, 1], {"d1": 2, "d3": 1, "d0": 0}),
    ("b", "dev", [1, 1, 1, 1, 1], {"d0": 1}),  # ties go by document id
    ("c", "Dev", [1, 1, 1, 0, 9], {"d3": 1}),
    ("d2", "dev", [0, 0, 3, 2, 1], {"d0": 0}),  # nothing is relevant to it
    ("t", "train", [1, 0, 0, 0, 0], {"d0": 1}),
    ("n", None, [1, 0, 0, 0, 0], {"d0": 1}),
    ("x", "test", [1, 0, 0, 0, 0], {"d0": 1}),
]


class Site:
    def __init__(self, folder):
        self.storage = open_storage(str(folder))
        self._number = itertools.count()

    def part(self, stage, index, tables=(), vectors=None):
        out = Output(self.storage, f"data/{stage}/{next(self._number)}")
        for name, rows, schema in tables:
            table = pa.Table.from_pylist([{field: row.get(field) for field in schema.names} for row in rows], schema=schema)
            out.table(f"{name}.parquet", table)
        if vectors is not None:
            out.array("vectors.npy", np.asarray(vectors, dtype=np.float32))
        return Part(stage=stage, key=f"{stage}{index}", index=index, files=tuple(out.files))

    def world(self, queries=QUERIES_OF, hashes=("h0", "h1", "h2", "h3", "h4")):
        documents, document_vectors, asked, query_vectors = [], [], [], []
        for number, rows in enumerate(([0, 2, 4], [1, 3])):
            table = [{"doc_id": f"d{n}", "norm_hash": hashes[n]} for n in rows]
            documents.append(self.part("documents", f"d{number:04d}", [("docs", table, DOCS)]))
            document_vectors.append(self.part("embed-documents", f"d{number:04d}", vectors=np.eye(5)[rows]))
        for number in range(2):
            own = queries[number::2]
            table = [{"query_id": query, "split": split, "norm_hash": f"h{len(judged)}"} for query, split, _, judged in own]
            qrels = [{"query_id": query, "doc_id": doc, "relevance": grade} for query, _, _, judged in own for doc, grade in judged.items()]
            asked.append(self.part("queries", f"q{number:04d}", [("queries", table, QUERIES), ("qrels", qrels, QRELS)]))
            query_vectors.append(self.part("embed-queries", f"q{number:04d}", vectors=[scores for _, _, scores, _ in own]))
        return asked, documents, query_vectors, document_vectors

    def run(self, settings, grade=1, world=None):
        (job,) = jobs(*(world or self.world()), settings, grade)
        told = []
        done = run_job(self.storage.root, STAGE, job, told.append)
        assert sum(told) == job.units == 5
        table = read_table(self.storage, done.file("metrics.parquet"))
        assert table.schema.equals(METRICS)
        found = {(row["query_id"], row["measure"]): row["value"] for row in table.to_pylist()}
        return done.meta, found


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def settings(**values):
    return EvaluateSettings(**{"measures": MEASURES, "depth": 3, **values})


def test_by_hand(site):
    meta, found = site.run(settings())
    # a: d0 d1 d2, relevant d1 (2) and d3 (1): DCG 2/log2(3), ideal 2 + 1/log2(3); first relevant at 2; one of two at 2
    gain = 1 / math.log2(3)
    # b: d0 first. c: d4 d0 d1 (ties by id), relevant d3 is fifth
    wanted = {
        ("a", "nDCG@3"): 2 * gain / (2 + gain), ("a", "MRR@3"): 0.5, ("a", "Recall@2"): 0.5,
        ("b", "nDCG@3"): 1.0, ("b", "MRR@3"): 1.0, ("b", "Recall@2"): 1.0,
        ("c", "nDCG@3"): 0.0, ("c", "MRR@3"): 0.0, ("c", "Recall@2"): 0.0,
    }  # fmt: skip
    assert found == pytest.approx(wanted)
    assert (meta["split"], meta["queries"], meta["without_positives"], meta["positives"], meta["documents"]) == ("dev", 3, 1, 4, 5)
    means = {name: each["mean"] for name, each in meta["measures"].items()}
    assert means == pytest.approx({"nDCG@3": (2 * gain / (2 + gain) + 1) / 3, "MRR@3": 0.5, "Recall@2": 0.5}, abs=1e-6)
    assert all(each["low"] <= each["mean"] <= each["high"] for each in meta["measures"].values())


def test_slices_by_hand(site):
    """MRR@3 of a, b, c: 0.5, 1, 0. Positives: two, one, one. By the round: a's best is at rank 1, b's at 7 (planted), c's unknown."""
    ranks = [("a", "d1", 1, True, False), ("a", "d3", 9, True, False), ("b", "d0", 7, False, True), ("b", "d1", 1, False, False)]
    names = ("query_id", "doc_id", "dense_rank", "is_positive", "planted")
    table = scored(["dense"])
    rows = [dict(zip(names, rank, strict=True)) for rank in ranks]
    parts = [site.part("scored", "q0000", [("scored", rows, table)])]
    (job,) = jobs(*site.world(), settings(measures=("MRR@3",)), scored=parts, dataset="toy")
    done = run_job(site.storage.root, STAGE, job, lambda _: None)
    found = read_table(site.storage, done.file("slices.parquet"))
    assert found.schema.equals(SLICES)
    means = {(row["slice"], row["value_of_slice"]): (row["mean"], row["queries"]) for row in found.to_pylist()}
    assert means == {
        ("all", ""): (0.5, 3), ("dataset", "toy"): (0.5, 3), ("length", "unknown"): (0.5, 3),
        ("positives", "1"): (0.5, 2), ("positives", "2–4"): (0.5, 1),
        ("difficulty", "rank 1"): (0.5, 1), ("difficulty", "rank 6–20"): (1.0, 1), ("difficulty", "not retrieved"): (0.0, 1),
    }  # fmt: skip
    first = found.to_pylist()[0]
    assert first["slice"] == "all" and first["small"] and first["measure"] == "MRR@3"
    assert {name: round(first[name], 6) for name in ("mean", "low", "high")} == done.meta["measures"]["MRR@3"]
    # without a round's table nothing is said of difficulty, and without a name there is no slice of the dataset
    (job,) = jobs(*site.world(), settings(measures=("MRR@3",)))
    plain = read_table(site.storage, run_job(site.storage.root, STAGE, job, lambda _: None).file("slices.parquet"))
    assert set(plain["slice"].to_pylist()) == {"all", "length", "positives"}


def test_grades_under_the_least_positive_one_do_not_count(site):
    meta, found = site.run(settings(), grade=2)
    # only a has a positive: d1, at rank 2
    assert found == pytest.approx({("a", "nDCG@3"): 1 / math.log2(3), ("a", "MRR@3"): 0.5, ("a", "Recall@2"): 1.0})
    assert (meta["queries"], meta["without_positives"], meta["positives"]) == (1, 3, 1)


def test_never_on_train(site):
    for split in ("train", "Train"):
        with pytest.raises(ValidationError, match="trained on"):
            settings(split=split)
    assert {query for query, _ in site.run(settings(split="test"))[1]} == {"x"}
    with pytest.raises(InputError, match="no queries of split 'calibration'"):
        site.run(settings(split="calibration"))


def test_documents_that_are_the_query(site):
    queries = [("d4", "dev", [1, 2, 3, 4, 9], {"d4": 1, "d3": 1}), ("e", "dev", [3, 2, 1, 0, 0], {"d1": 1, "d2": 1, "d3": 1})]
    world = site.world(queries, hashes=("h3", "h1", "h2", "h3", "h4"))
    plain = site.run(settings(), world=world)[1]
    assert [plain["d4", name] for name in MEASURES] == pytest.approx([1, 1, 1])
    # by id: of d4 its own document goes, from the ranking and the judgements: d3 is first
    by_id, found = site.run(settings(exclude_self="id"), world=world)
    assert [found["d4", name] for name in MEASURES] == pytest.approx([1, 1, 1])
    assert by_id["positives"] == 4
    # by text: e's norm_hash is h3, that of d0 and d3. The ranking is d1 d2 d4, the judgements d1 and d2
    by_text, found = site.run(settings(exclude_self="text"), world=world)
    assert [found["e", name] for name in MEASURES] == pytest.approx([1, 1, 1])
    assert [plain["e", name] for name in MEASURES][1:] == pytest.approx([0.5, 1 / 3])
    assert by_text["positives"] == 4


def test_wrong_use(site):
    with pytest.raises(UsageError, match="does not know 'nDGC@10'"):
        jobs(*site.world(), settings(measures=("nDGC@10",)))
    with pytest.raises(UsageError, match="set depth: 10"):
        jobs(*site.world(), settings(measures=("nDCG@10",)))
    with pytest.raises(ValidationError, match="named twice"):
        settings(measures=("AP", "AP"))
    queries, documents, query_vectors, document_vectors = site.world()
    with pytest.raises(UsageError, match="not of these partitions"):
        jobs(queries, documents, query_vectors, document_vectors[::-1], settings())


def test_search_is_exact_whatever_the_blocks(monkeypatch):
    generator = np.random.default_rng(0)
    documents, queries = generator.normal(size=(301, 16)).astype(np.float32), generator.normal(size=(7, 16)).astype(np.float32)
    nothing = np.empty(0, np.int64)
    wanted = np.argsort(-(queries @ documents.T), axis=1)[:, :10]
    for cuts, floats in (([], 1 << 24), ([100, 101, 250], 7 * 30)):
        monkeypatch.setattr("tasks.evaluate.search._BLOCK_FLOATS", floats)
        starts = [0, *cuts]
        blocks = [Block(block, first, (nothing, nothing)) for block, first in zip(np.split(documents, cuts), starts, strict=True)]
        told = []
        numbers, scores = search(queries, blocks, 10, told.append)
        assert numbers[:, :10].tolist() == wanted.tolist()
        assert (np.diff(scores, axis=1) <= 0).all()
        assert sum(told) == 301
    few, scores = search(queries, [Block(documents[:2], 0, (np.array([3]), np.array([1])))], 10, lambda _: None)
    assert few[3].tolist() == [0, -1]
    assert np.isneginf(scores[3, 1])


def table(values, measure="nDCG@10"):
    rows = [{"query_id": query, "measure": measure, "value": value} for query, value in values.items()]
    return pa.Table.from_pylist(rows, schema=METRICS)


def test_paired_comparison():
    generator = np.random.default_rng(1)
    before = {f"q{n}": float(generator.random()) for n in range(200)}
    better = {query: value + 0.05 for query, value in reversed(before.items())}
    found = compare(table(before), table(better))["nDCG@10"]
    assert found.difference == pytest.approx(0.05)
    assert (found.low, found.high) == pytest.approx((0.05, 0.05))  # paired: every query gains the same
    assert (found.p, found.queries) == (0.0, 200)
    noise = compare(table(before), table({query: float(generator.random()) for query in before}))["nDCG@10"]
    assert noise.low < noise.difference < noise.high
    assert compare(table(before), table(before))["nDCG@10"].p == 1.0
    with pytest.raises(UsageError, match="different queries: 1 are in one only, the first 'z'"):
        compare(table({"a": 1.0}), table({"a": 1.0, "z": 0.0}))
    with pytest.raises(UsageError, match="share no measure"):
        compare(table({"a": 1.0}), table({"a": 1.0}, "RR"))


def test_intervals_are_those_of_the_normal_law_for_many_queries():
    values = np.random.default_rng(2).random((5000, 1))
    (found,) = intervals(values, resamples=2000)
    error = values.std() / math.sqrt(5000)
    assert found.mean == pytest.approx(values.mean())
    assert (found.high - found.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.1)
    assert np.array_equal(resampled_means(values, 30, 7), resampled_means(values, 30, 7))


def test_queries_of_one_group_are_drawn_together():
    """0 and 1 in one group: whatever is drawn, the mean is ½. Of two such groups of equal queries the interval is that of two units."""
    (sure,) = intervals(np.array([[0.0], [1.0]]), clusters=np.array([3, 3]))
    assert (sure.low, sure.mean, sure.high, sure.queries) == (0.5, 0.5, 0.5, 2)
    values = np.repeat([[0.0], [1.0]], 50, axis=0)
    (alone,) = intervals(values)
    (together,) = intervals(values, clusters=np.repeat([0, 1], 50))
    assert (together.low, together.high) == (0.0, 1.0) and alone.high - alone.low < 0.25
    before, after = table({"a": 0.0, "b": 0.0}), table({"a": 0.0, "b": 1.0})
    grouped = compare(before, after, groups={"a": "g", "b": "g"})["nDCG@10"]
    assert (grouped.low, grouped.difference, grouped.high) == (0.5, 0.5, 0.5)


def test_the_stage_draws_groups(site):
    """a, b and c (MRR@3 0.5, 1, 0) in one group: there is one unit, and no doubt about it."""
    world = site.world()
    plain = site.run(settings(), world=world)[0]["measures"]["MRR@3"]
    asked = [
        site.part("queries", part.index, [("queries", [{**row, "group": "g"} for row in rows], QUERIES), ("qrels", qrels, QRELS)])
        for part in world[0]
        for rows, qrels in [[read_table(site.storage, part.file(f"{name}.parquet")).to_pylist() for name in ("queries", "qrels")]]
    ]
    grouped = site.run(settings(), world=(asked, *world[1:]))[0]["measures"]["MRR@3"]
    assert plain["low"] < plain["mean"] == 0.5 < plain["high"]
    assert (grouped["low"], grouped["mean"], grouped["high"]) == (0.5, 0.5, 0.5)
