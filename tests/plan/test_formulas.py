import dataclasses

import numpy as np
import pytest

from tasks.plan import models, search, tables
from tasks.plan.plan import BETWEEN, HANDED, STARTING, Plan, Prices, make_plan
from tasks.plan.speeds import Curve, Speeds, model_seconds, padded_tokens
from tasks.plan.stage import StagePlan
from tasks.plan.workload import Depth, Index, Inputs, Training, Workload, union

FLAT = Curve(lengths=(16.0,), seconds=(1e-4,), start=2.0)
SPEEDS = Speeds(imports=5.0, resident=10**9, documents=FLAT, queries=FLAT, teacher=FLAT, training=FLAT, product=1e11, scan=1e10)


def inputs(length, **changes):
    return Inputs(lengths=np.array([length]), budget=1024, limit=256, **changes)


def work(**changes):
    """1,000 documents of 700 bytes in 4 partitions, 100 queries in 2."""
    values = {
        "documents": 1_000,
        "queries": 100,
        "positives": 150,
        "document_bytes": 700.0,
        "query_bytes": 60.0,
        "document_partitions": 4,
        "query_partitions": 2,
        "depth": Depth(dense=30, teacher=10),
        "dim": 384,
        "embedded": inputs(128),
        "asked": inputs(16),
        "scored": inputs(128),
    }
    return Workload(**{**values, **changes})


def test_a_curve_is_linear_between_its_lengths_and_level_beyond():
    curve = Curve(lengths=(16.0, 64.0), seconds=(1.0, 3.0))
    assert curve.at(np.array([8, 16, 40, 64, 512])).tolist() == [1.0, 1.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize(
    ("length", "count", "tokens"),
    [
        (128, 8, 8 * 128),  # 1,024 tokens a batch: 8 rows of 128, one batch
        (128, 9, 16 * 128),  # the ninth fills a second batch with copies
        (120, 8, 8 * 128),  # padded to the next multiple of 16
        (250, 3, 4 * 256),  # rows are a power of two: 4 of 256
        (128, 0, 0),
        (128, 32_768, 32_768 * 128),  # more than are simulated: in proportion
    ],
)
def test_padded_tokens_are_those_of_the_batches(length, count, tokens):
    assert padded_tokens(inputs(length), count) == tokens
    assert model_seconds(inputs(length), count, FLAT) == pytest.approx(tokens * 1e-4)


def test_longer_rows_cost_more_a_token():
    sampled = Inputs(lengths=np.array([16, 64]), budget=64, limit=64)
    curve = Curve(lengths=(16.0, 64.0), seconds=(1.0, 3.0))
    # eight inputs: four of 16 tokens, one batch of 4 rows; four of 64, a batch each: 4 · 16 · 1 + 4 · 64 · 3
    assert model_seconds(sampled, 8, curve) == 4 * 16 * 1.0 + 4 * 64 * 3.0


def test_embedding():
    documents, queries = models.embed(work(), SPEEDS)
    # 250 documents a partition in batches of 8 rows of 128: 32 batches, 256 rows
    assert documents.seconds == pytest.approx(4 * 256 * 128 * 1e-4)
    assert (documents.calls, documents.tokens, documents.saved) == (1_000, 128_000, 0)
    assert documents.bytes == 1_000 * (384 * 4 + 19) + 4 * 128
    assert documents.memory == 250 * (4 * 700 + 384 * 8)
    # 50 queries a partition in batches of 64 rows of 16
    assert queries.seconds == pytest.approx(2 * 64 * 16 * 1e-4)
    half = models.embed(work(vector_bytes=2, embedded=inputs(128, known=0.99)), SPEEDS)[0]
    assert half.bytes == 1_000 * (384 * 2 + 19) + 4 * 128
    # 1 % of 250 is 2 texts a partition, a batch of 8 rows each
    assert (half.calls, half.saved, half.seconds) == (10, 990, pytest.approx(4 * 8 * 128 * 1e-4))
    unknown = models.embed(work(embedded=inputs(128, known=None)), SPEEDS)[0]
    assert (unknown.calls, unknown.saved) == (1_000, None)


def test_a_fixed_encoder_embeds_everything_again():
    fixed = dataclasses.replace(work(), fixed=(inputs(128), inputs(16)))
    made = models.embed(fixed, SPEEDS.model_copy(update={"fixed": FLAT}))
    assert [stage.stage for stage in made] == ["embed-documents", "embed-queries"] * 2


def test_pairs_and_candidates_of_one_source_and_of_two():
    # 100 queries to rank 10, and a fifth of 150 positives beyond
    assert work().pair_count == 100 * 10 + 30
    assert work().candidate_count == 100 * 30 + 30
    both = work(depth=Depth(dense=100, bm25=50, random=7, teacher=9))
    # union: 100 + 50 - 50/3 = 133; the teacher's: 9 + 9 - 3 = 15
    assert both.candidate_count == 100 * (133 + 7) + 30
    assert both.pair_count == 100 * 15 + 30
    assert union(20, 100, 50) == 20
    exact = work(candidates=5, pairs=3)
    assert (exact.candidate_count, exact.pair_count) == (5, 3)
    assert work(depth=Depth(dense=30)).pair_count == 0
    # one chunk of four: 25 queries, a quarter of the positives
    assert work(chunks=4).candidate_count == 25 * 30 + 8


def test_scoring():
    stage = models.score(work(), FLAT)
    # 1,030 pairs: a block for each query partition, 515 in batches of 8: 65 batches; each block reads 700 kB of text
    assert stage.partitions == 2
    assert stage.seconds == pytest.approx(2 * (65 * 8 * 128 * 1e-4 + 1.5e-9 * 700_000))
    assert (stage.calls, stage.tokens, stage.bytes) == (1_030, 1_030 * 128, 1_030 * 18 + 3_000)
    # 1,030 pairs in blocks of 100 are 11
    assert models.score(work(pairs_per_partition=100), FLAT).partitions == 11
    nothing = models.score(work(scored=inputs(128, known=1.0)), FLAT)
    assert (nothing.calls, nothing.saved, nothing.start) == (0, 1_030, 0.0)


def test_a_teacher_that_is_trained():
    training = Training(inputs(50), epochs=2, pairs_per_positive=5, max_pairs=20_000, holdout=0.1, folds=0, model_bytes=10**6)
    stage = models.train(work(), training, FLAT)
    # 150 positives · 5 · 0.9 = 675 pairs, twice; 150 held-out pairs are scored twice at a third of a step: 100
    assert (stage.partitions, stage.calls, stage.tokens) == (1, 1_350, 1_350 * 50)
    assert stage.seconds == pytest.approx((1_350 + 100) * 50 * 1e-4)
    assert stage.bytes == 10**6
    three = models.train(work(), dataclasses.replace(training, folds=3), FLAT)
    # each leaves a third out: 500 pairs, twice, by three teachers
    assert (three.partitions, three.calls, three.bytes) == (3, 3_000, 3 * 10**6)
    # auto: 3 teachers · 675 · 2 · 3 = 12,150 is more than half of 1,030 pairs, and not more than half of 24,300
    auto = dataclasses.replace(training, folds=None)
    assert models.train(work(), auto, FLAT).partitions == 1
    assert models.train(work(pairs=24_300), auto, FLAT).partitions == 3
    assert models.train(work(), dataclasses.replace(training, max_pairs=100), FLAT).calls == 200


def test_exact_search_is_two_operations_for_each_dimension_of_each_pair():
    (stage,) = search.dense(work(), SPEEDS)
    hits = 100 * 30 * 4
    assert stage.seconds == pytest.approx(2 * 1_000 * 100 * 384 / 1e11 + 4 * 0.02 + 60e-9 * hits)
    assert (stage.units, stage.bytes) == (400, hits * 7)
    # 250 vectors in float32 twice, 100 queries, the 1,500 hits of a query partition at 12 bytes
    assert stage.memory == 250 * 384 * 8 + 100 * 384 * 4 + 1_500 * 12


def test_search_in_clusters():
    indexed = work(index=Index(nlist=10, nprobe=2, code_bytes=1))
    clusters, stage = search.dense(indexed, SPEEDS)
    # 640 of the 1,000 vectors in 10 clusters, 10 rounds; the 100 queries, fewer than 200, against all 1,000
    assert clusters.seconds == pytest.approx(2 * 384 * (640 * 10 * 10 + 100 * 1000) / 1e11 + 0.02)
    assert (clusters.partitions, clusters.bytes) == (1, 4 * 10 * 384)
    # a partition: 250 rows and 100 queries against 10 centroids, 100 queries against all rows for recall, 6,000 rows scored again
    looked = 350 * 10 + 100 * 250 + 2 * 3_000
    scanned = 100 * 250 * 2 / 10
    assert stage.seconds == pytest.approx(4 * 768 * (looked / 1e11 + scanned / 1e10) + 4 * 0.02 + 60e-9 * 12_000)
    assert stage.memory == 250 * 384 * 5 + 100 * 384 * 4 + 1_500 * 12


def test_search_by_words_looks_at_every_document_of_a_partition():
    statistics, stage = search.bm25(work(depth=Depth(dense=30, bm25=20)))
    reading = 130e-9 * 700_000 + 4 * 0.02
    assert statistics.seconds == pytest.approx(reading)
    assert stage.seconds == pytest.approx(reading + 400 * (80e-6 + 6e-9 * 250))
    assert stage.bytes == 100 * 20 * 4 * 7


def test_candidates_read_the_ids_of_all_documents_in_each_query_partition():
    stage = search.candidates(work())
    assert stage.seconds == pytest.approx(4.3e-6 * 3_030 + 60e-9 * 12_000 + 2 * (0.02 + 20e-9 * 1_000))


def test_tables():
    # 1,250 rows: 12 µs to parse and 20 µs to keep each, 12 ns for each of 706,000 bytes, 50 ms a file
    assert tables.ingest(work()).seconds == pytest.approx(1_250 * 32e-6 + 706_000 * 12e-9 + 3 * 0.05)
    assert tables.ingest(work(read_seconds=4.0)).seconds == pytest.approx(4.0 + 1_250 * 20e-6 + 3 * 0.05)
    made = {
        stage.stage: stage for stage in tables.selections(work(recipes=(("signatures", "feature-containment"), ("signatures",)), formats=2))
    }
    assert list(made) == ["signatures", "feature-containment", "select", "gate", "measure", "shards"]
    # two recipes over 3,030 candidates in two partitions
    assert made["select"].seconds == pytest.approx(2 * (2 * 0.07 + 3_030 * 2e-6))
    # two recipes in two formats, 100 queries, each partition reading 700 kB
    assert made["shards"].seconds == pytest.approx(4 * (2 * 0.08 + 100 * 150e-6) + 4 * 2 * 1.5e-9 * 700_000)
    assert "probe" in {stage.stage for stage in tables.selections(work(planted=True))}
    assert [stage.stage for stage in tables.after_scoring(work(depth=Depth(dense=30)))] == ["scored"]


def stage_of(seconds, partitions, **changes):
    return StagePlan(stage="s", partitions=partitions, units=1, unit="rows", seconds=seconds, **changes)


def plan_of(*stages):
    return Plan(dataset="d", documents=1, queries=1, stages=stages, resident=100)


def test_partitions_are_handed_out_in_rounds():
    stage = stage_of(60.0, 6, start=2.0)
    assert [stage.wall(workers) for workers in (1, 2, 4, 5, 6, 60)] == [62.0, 32.0, 22.0, 22.0, 12.0, 12.0]
    assert (stage.computing, stage.done().computing, stage.done().wall(1)) == (62.0, 0.0, 0.0)


def test_totals_and_what_they_cost():
    plan = plan_of(stage_of(3_600.0, 4, bytes=2 * 10**9, memory=50, calls=7), stage_of(100.0, 1, memory=20, saved=3))
    fixed = STARTING + 2 * BETWEEN + 5 * HANDED
    assert plan.wall(1) == pytest.approx(3_700 + fixed)
    assert plan.wall(4) == pytest.approx(1_000 + fixed)
    assert (plan.computing, plan.memory, plan.calls, plan.saved) == (3_700.0, 150, 7, 3)
    prices = Prices(hour=0.5, month=0.02)
    assert prices.of_run(plan, 4) == pytest.approx(0.5 * 4 * (1_000 + fixed) / 3600)
    assert prices.of_storage(plan) == pytest.approx(0.04)


def test_workers_for_a_wanted_time():
    plan = plan_of(stage_of(1_000.0, 100), stage_of(10.0, 1))
    fixed = STARTING + 2 * BETWEEN + 101 * HANDED
    assert plan.workers_within(1_010 + fixed) == 1
    assert plan.workers_within(510 + fixed) == 2
    # ceil(100 / W) rounds of 10 s must be 25 at most: 4 workers; and 24 at most: 5
    assert plan.workers_within(260 + fixed) == 4
    assert plan.workers_within(255 + fixed) == 5
    assert plan.workers_within(20 + fixed) == 100
    assert plan.workers_within(19 + fixed) is None  # the single part of the second stage, and one round of the first


def test_imports_are_paid_once_and_by_the_first_model():
    plan = make_plan("d", work(), SPEEDS)
    starts = {stage.stage: stage.start for stage in plan.stages if stage.start}
    assert starts == {"embed-documents": 7.0, "score": 2.0}
    later = make_plan("d", work(), SPEEDS, cached={"embed-documents"})
    assert {stage.stage: stage.start for stage in later.stages if stage.start} == {"embed-queries": 7.0, "score": 2.0}
    assert later.saved == 1_000


def test_all_cached_starts_nothing():
    names = {stage.stage for stage in make_plan("d", work(), SPEEDS).stages}
    plan = make_plan("d", work(), SPEEDS, cached=names)
    assert (plan.computing, plan.bytes, plan.calls, plan.saved) == (0.0, 0, 0, 1_000 + 100 + 1_030)
    assert plan.wall(1) < 3


def test_a_billion_documents():
    """Quadratic and linear terms at 10^9 documents and 10^6 queries: nothing overflows, and what dominates is what must."""
    most = work(
        documents=10**9,
        queries=10**6,
        positives=10**6,
        document_partitions=4_096,
        query_partitions=123,
        depth=Depth(dense=100, bm25=50, teacher=30),
        vector_bytes=2,
        index=Index(nlist=2_048, nprobe=16, code_bytes=1),
    )
    documents = models.embed(most, SPEEDS)[0]
    assert documents.bytes == 10**9 * (384 * 2 + 19) + 128 * 4_096  # 787 GB
    # 244,141 documents a partition, 128 tokens each at 0.1 ms: 148 days on this one worker
    assert documents.seconds == pytest.approx(10**9 * 128 * 1e-4, rel=1e-3)
    _, dense = search.dense(most, SPEEDS)
    assert dense.bytes == 10**6 * 100 * 4_096 * 7
    exact = search.dense(dataclasses.replace(most, index=Index()), SPEEDS)[0]
    assert exact.seconds > 2 * 10**9 * 10**6 * 384 / 1e11 > dense.seconds / 10
    assert exact.memory < 3 * 10**9
    plan = make_plan("d", most, SPEEDS)
    # `measure` is one part that reads all of 133 M candidates
    assert max(plan.stages, key=lambda stage: stage.memory).stage == "measure"
    assert plan.wall(4_096) < plan.wall(64) < plan.wall(1)
