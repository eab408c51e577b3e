"""Recipes over scores, each on a table that can be checked on paper."""

import math

import pytest

from tests.select.tables import Chosen, many, positive, ranked

NINE = math.log(9)  # weights 1 and exp(−ln 9) = 1/9: nine draws of ten


@pytest.mark.parametrize(
    ("settings", "expected", "reason"),
    [
        ({}, ["d3", "d4"], "relative_margin"),  # s > 0.8 · 0.95 = 0.76 goes
        ({"method": "margin-pos"}, ["d3", "d4"], "absolute_margin"),  # s + 0.05 > 0.8 goes
        ({"method": "absolute", "max_score": 0.7}, ["d4"], "max_score"),  # s > 0.7 goes
        ({"method": "shifted", "skip": 1}, ["d2", "d3"], "rank_skip"),
        ({"sample_from": 2}, ["d3", "d4"], "relative_margin"),  # two of the best two
    ],
)
def test_nv_retriever(settings, expected, reason):
    rows = [*ranked([0.9, 0.77, 0.74, 0.6]), positive(0.8)]
    chosen = Chosen({"name": "nv-retriever", **settings}, rows)
    assert chosen.negatives() == expected
    assert chosen.why()["d1"] == reason


def test_nv_retriever_samples_from_the_best_survivors():
    """One of the best two: half each, and never the third."""
    rows = many([*ranked([0.5, 0.4, 0.3]), positive(0.8)])
    shares = Chosen({"name": "nv-retriever", "sample_from": 2}, rows, number=1).shares()
    assert shares == {"d1": pytest.approx(0.5, abs=0.04), "d2": pytest.approx(0.5, abs=0.04)}


def test_ambiguous_window():
    """0.75 ± 0.1: between 0.65 and 0.85."""
    rows = [*ranked([0.9, 0.8, 0.7, 0.6]), positive(0.75)]
    chosen = Chosen("ambiguous-window", rows, number=4)
    assert chosen.negatives() == ["d2", "d3"]
    assert chosen.why() == {"d1": "window", "d4": "window"}
    assert Chosen({"name": "ambiguous-window", "order": "top"}, rows, number=1).negatives() == ["d2"]
    on_bm25 = [{"doc_id": "b", "bm25_rank": 1, "bm25_score": 7.0, "dense_score": 0.1}, positive(0.7, bm25_score=8.0, bm25_rank=2)]
    assert Chosen({"name": "ambiguous-window", "score": "bm25_score", "margin": 2}, on_bm25).negatives() == ["b"]


def test_middle_band():
    """0.1 < teacher < 0.5: d2 and d3. d5 was not scored."""
    rows = [*ranked([0.9, 0.8, 0.7, 0.6, 0.5], teacher_sigmoid=[0.9, 0.4, 0.2, 0.05, None]), positive(0.75)]
    chosen = Chosen("middle-band", rows, number=4)
    assert chosen.negatives() == ["d2", "d3"]
    assert chosen.why() == {"d1": "middle_band", "d4": "middle_band", "d5": "unscored"}


def test_query_quantiles():
    """The 0.75 quantile of five scores is the second; q's and r's thresholds are their own."""
    rows = [*ranked([0.9, 0.8, 0.7, 0.6, 0.5]), positive(0.75), *ranked([0.5, 0.4, 0.3, 0.2, 0.1], query="r"), positive(0.75, "r")]
    chosen = Chosen({"name": "query-quantiles", "high": 0.75}, rows)
    assert chosen.negatives() == ["d2", "d3", "d2", "d3"]
    assert chosen.why() == {"d1": "quantile"}


def test_ccr_sieve():
    """The list: 0.9, 0.8, 0.4, 0.3 with mean 0.6. d5 is beyond it."""
    rows = [*ranked([0.9, 0.8, 0.4, 0.3, 0.2]), positive(0.75)]
    chosen = Chosen({"name": "ccr-sieve", "depth": 4}, rows, number=3)
    assert chosen.negatives() == ["d3", "d4"]
    assert chosen.why() == {"d1": "below_mean", "d2": "below_mean", "d5": "rank_range"}
    assert set(chosen.draws().values()) == {"sieve"}


def test_ccr_sieve_leaves_one_at_random_where_none_passes():
    """Equal scores: none is under the mean. q gets one, each of the three in a third of the queries; a copy is never the one."""
    rows = [*ranked([0.5, 0.5, 0.5, 0.5], copy_of=[None, None, None, "positive"]), positive(0.75)]
    chosen = Chosen("ccr-sieve", many(rows, 900), number=3)
    assert len(chosen.negatives()) == 900
    assert chosen.shares() == {doc: pytest.approx(1 / 3, abs=0.05) for doc in ("d1", "d2", "d3")}
    assert set(chosen.draws().values()) == {"one"}


@pytest.mark.parametrize(
    ("settings", "scores"),
    [
        ({"a": NINE}, [0.5, -0.5]),  # distances 0 and 1 from s⁺ = 0.5
        ({"a": NINE, "b": -1.0}, [-0.5, 0.5]),  # s − s⁺ − b: 0 and 1
        ({"a": NINE / 0.5, "absolute": True}, [0.5, 0.0]),  # |−0.5| · a = ln 9
        ({"a": NINE, "scale": 0.1}, [0.5, 0.4]),
        ({"a": NINE / 4, "normalise": "zscore"}, [0.5, 0.3]),  # standard deviation 0.1: distances 0 and 2
        ({"a": NINE, "normalise": "minmax"}, [0.5, 0.3]),  # range 0.2: distances 0 and 1
        ({"a": NINE / 0.16, "normalise": "positive"}, [0.5, 0.3]),  # 0.2 / 0.5 = 0.4, squared 0.16
    ],
)
def test_simans(settings, scores):
    """The first has nine times the second's weight."""
    rows = [*ranked(scores), positive(0.5)]
    shares = Chosen({"name": "simans", **settings}, many(rows), number=1).shares()
    assert shares == {"d1": pytest.approx(0.9, abs=0.025), "d2": pytest.approx(0.1, abs=0.025)}


@pytest.mark.parametrize("normalise", ["zscore", "minmax", "positive"])
def test_simans_with_a_unit_of_zero_gives_all_the_same_weight(normalise):
    score = 0.0 if normalise == "positive" else 0.25
    rows = [*ranked([score, score]), positive(score)]
    shares = Chosen({"name": "simans", "a": 1000, "normalise": normalise}, many(rows), number=1).shares()
    assert shares == {"d1": pytest.approx(0.5, abs=0.04), "d2": pytest.approx(0.5, abs=0.04)}


def test_trisampler_keeps_to_the_boundary():
    """Angles 25.8°, 36.9°, 60°; the positive's 41.4°: 15.6, 4.5 and 18.6 apart."""
    rows = [*ranked([0.9, 0.8, 0.5]), positive(0.75)]
    chosen = Chosen({"name": "trisampler", "steps": ["boundary"], "boundary": 16}, rows, number=3)
    assert chosen.negatives() == ["d1", "d2"]
    assert chosen.why() == {"d3": "angle"}


@pytest.mark.parametrize(
    ("settings", "scores", "near", "share"),
    [
        ({"steps": ["draw"]}, [0.6, 0.8], [0.9, 0.9], 0.75),  # ReLU: 0.3 and 0.1
        ({"steps": ["pool"], "width": 0.16 / NINE}, [0.75, 0.35], [None, None], 0.9),  # exp(−0.4² / width) = 1/9
        ({"width": 0.16 / NINE}, [0.75, 0.35], [0.85, 0.65], 0.75),  # 1 · 0.1 and 1/9 · 0.3: 3 to 1
    ],
)
def test_trisampler_weights(settings, scores, near, share):
    rows = [*ranked(scores, positive_document_score=near), positive(0.75)]
    shares = Chosen({"name": "trisampler", **settings}, many(rows), number=1).shares()
    assert shares == {"d1": pytest.approx(share, abs=0.035), "d2": pytest.approx(1 - share, abs=0.035)}


def test_trisampler_never_draws_what_is_nearer_to_the_query_than_to_the_positive():
    rows = [*ranked([0.8, 0.7], positive_document_score=[0.7, 0.75]), positive(0.75)]
    assert Chosen("trisampler", rows).negatives() == ["d2"]


def test_rocketqa():
    """Ranks 1 and 2 are walked: d1 is under 0.1, d2 is not. d3 and d4, which the teacher has not seen, fill the row."""
    rows = [*ranked([0.9, 0.8, 0.7, 0.6, 0.5], teacher_sigmoid=[0.05, 0.5, None, None, None]), positive(0.75)]
    chosen = Chosen({"name": "rocketqa", "depth": 2, "backfill_depth": 4}, rows, number=3)
    assert chosen.negatives() == ["d1", "d3", "d4"]
    assert chosen.draws() == {"d1": "walk", "d3": "backfill", "d4": "backfill"}
    assert {name: chosen.why()[name] for name in ("d2", "d5")} == {"d2": "teacher_ceiling", "d5": "rank_range"}


def test_rocketqa_pseudo_positives():
    """Over 0.9 the best becomes a positive with a row of its own; the second best stays rejected."""
    rows = [*ranked([0.9, 0.8, 0.7], teacher_sigmoid=[0.95, 0.99, 0.01]), positive(0.75)]
    chosen = Chosen({"name": "rocketqa", "pseudo_positives": True}, rows)
    assert {row["positive_id"]: row["doc_id"] for row in chosen.rows if row["slot"] == 1} == {"p": "d3", "d2": "d3"}
    assert chosen.why() == {"d1": "teacher_ceiling"}


def test_pair_labels_a_query_that_has_no_positive():
    """d1 over 0.9 is the row's positive; d3 and d4 under 0.1 are its negatives; d2 is neither."""
    chosen = Chosen("pair", ranked([0.9, 0.8, 0.7, 0.6], teacher_sigmoid=[0.95, 0.5, 0.05, 0.02]), number=3)
    assert [(row["positive_id"], row["slot"], row["doc_id"]) for row in chosen.rows] == [
        ("d1", 0, "d1"),
        ("d1", 1, "d3"),
        ("d1", 2, "d4"),
    ]
    assert chosen.why() == {"d2": "teacher_ceiling"}
