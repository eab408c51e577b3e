import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.select.draws import Draw, Random, Top, Weighted
from tasks.select.recipe import PseudoPositives, Recipe, RowOrder
from tasks.select.rules.copies import Duplicate
from tasks.select.rules.ranks import RankRange
from tasks.select.rules.scores import MaxScore
from tasks.select.stage import select
from tests.select.tables import SOURCES, ranked, table


def drawn(recipe, rows, seed=0):
    decisions, _ = select(table(rows), recipe, SOURCES, seed, "s")
    return [(row["doc_id"], row["draw"]) for row in decisions.to_pylist() if row["decision"] == "negative"]


def test_top_takes_the_best_survivors_and_breaks_ties_by_id():
    rows = ranked([0.5, 0.9, 0.5, 0.5])
    assert [doc for doc, _ in drawn(Recipe(num_negatives=2), rows)] == ["d1", "d2"]


def test_survivor_slice_counts_among_survivors():
    recipe = Recipe(rules=(MaxScore(value=0.85, on_null="keep"),), draws=(Draw(survivor_min=1, survivor_max=3),), num_negatives=5)
    assert [doc for doc, _ in drawn(recipe, ranked([0.9, 0.8, 0.7, 0.6, 0.5]))] == ["d3", "d4"]


def test_a_later_draw_fills_what_is_left_and_may_waive_reasons():
    rows = ranked([0.9, 0.8, 0.7, 0.6])
    recipe = Recipe(
        rules=(RankRange(range_max=1, on_null="keep"),),
        draws=(Draw(name="walk"), Draw(name="backfill", waive=("rank_range",), pool="dense_rank > 2")),
        num_negatives=2,
    )
    assert drawn(recipe, rows) == [("d1", "walk"), ("d3", "backfill")]


def test_quotas_take_so_many_of_each_band():
    rows = ranked([0.9, 0.8, 0.5, 0.4, 0.3])
    recipe = Recipe(draws=(Draw(name="hard", take=1, pool="dense_score > 0.6"), Draw(name="medium", take=2, pool="dense_score <= 0.6")))
    assert drawn(recipe, rows) == [("d1", "hard"), ("d3", "medium"), ("d4", "medium")]


def test_random_draws_depend_on_the_seed_and_not_on_order_or_partition():
    rows = ranked([0.5] * 40) + ranked([0.4] * 40, query="r")
    recipe = Recipe(draws=(Draw(order=Random()),), num_negatives=5)
    together, _ = select(table(rows), recipe, SOURCES, 7, "s")
    apart = pa.concat_tables(
        [select(table([row for row in rows if row["query_id"] == query]), recipe, SOURCES, 7, "s")[0] for query in "qr"]
    )
    assert together.equals(apart)
    other, _ = select(table(rows), recipe, SOURCES, 8, "s")
    assert not together.equals(other)


def test_weighted_draws_follow_their_weights():
    """Two documents, weights 9:1, one drawn: the first in about nine of ten queries."""
    rows = [row for number in range(2000) for row in ranked([0.0, 0.0], query=f"q{number:04}")]
    weight = Weighted(log_weight="CASE WHEN doc_id = 'd1' THEN ln(9.0) ELSE 0 END")
    taken = drawn(Recipe(draws=(Draw(order=weight),), num_negatives=1), rows)
    share = sum(doc == "d1" for doc, _ in taken) / len(taken)
    assert len(taken) == 2000
    assert share == pytest.approx(0.9, abs=0.025)


def test_a_weight_that_underflows_still_orders():
    weight = Weighted(log_weight="-100000.0 * pow(dense_score - 0.5, 2)")
    assert [doc for doc, _ in drawn(Recipe(draws=(Draw(order=weight),), num_negatives=1), ranked([0.9, 0.51, 0.2]))] == ["d2"]


def test_rows_hold_the_positive_then_negatives_hardest_first():
    rows = [*ranked([0.9, 0.8, 0.7], positives=("d2",)), {"doc_id": "z", "is_positive": True, "relevance": 1, "dense_score": 0.1}]
    _, layout = select(table(rows), Recipe(draws=(Draw(order=Random()),), num_negatives=2), SOURCES, 0, "s")
    by_row = {}
    for row in layout.to_pylist():
        by_row.setdefault((row["row_no"], row["positive_id"]), []).append((row["slot"], row["doc_id"], row["label"]))
    assert sorted(positive for _, positive in by_row) == ["d2", "z"]
    for (_, positive), members in by_row.items():
        assert members == [(0, positive, 1.0), (1, "d1", 0.0), (2, "d3", 0.0)]


def test_pseudo_positives_are_no_negatives_and_get_rows_of_their_own():
    rows = [*ranked([0.9, 0.8, 0.7], teacher_sigmoid=[0.95, 0.99, 0.2]), {"doc_id": "p", "is_positive": True, "relevance": 1}]
    decisions, layout = select(table(rows), Recipe(pseudo_positives=PseudoPositives(above=0.9), num_negatives=5), SOURCES, 0, "s")
    assert {row["doc_id"]: row["decision"] for row in decisions.to_pylist()} == {
        "d1": "negative",
        "d2": "pseudo_positive",
        "d3": "negative",
        "p": "positive",
    }
    assert sorted(row["positive_id"] for row in layout.to_pylist() if row["slot"] == 0) == ["d2", "p"]


def test_a_renamed_rule_still_keeps_copies_from_becoming_positives():
    rows = [{"doc_id": "a", "teacher_sigmoid": 0.99, "copy_of": "query"}, {"doc_id": "p", "is_positive": True}]
    recipe = Recipe(rules=(Duplicate(reason="dup"),), pseudo_positives=PseudoPositives(above=0.9))
    decisions, _ = select(table(rows), recipe, SOURCES, 0, "s")
    assert {row["doc_id"]: row["decision"] for row in decisions.to_pylist()} == {"a": "rejected", "p": "positive"}


def test_stages_draw_apart():
    recipe = Recipe(draws=(Draw(stage="easy", pool="dense_score < 0.6"), Draw(stage="hard")), num_negatives=1)
    decisions, layout = select(table(ranked([0.9, 0.5])), recipe, SOURCES, 0, "s")
    assert {(row["stage"], row["doc_id"]) for row in decisions.to_pylist() if row["decision"] == "negative"} == {
        ("easy", "d2"),
        ("hard", "d1"),
    }
    assert decisions.num_rows == 4
    assert layout.num_rows == 0  # no positive, no row


def test_weights_are_given_for_each_negative_and_by_default_where_they_are_null():
    rows = [*ranked([0.9, 0.8, 0.7], teacher_sigmoid=[0.75, None, 0.5]), {"doc_id": "p", "is_positive": True, "relevance": 1}]
    draw = Draw(weight_by="1 - teacher_sigmoid", weight=0.5)
    decisions, layout = select(table(rows), Recipe(draws=(draw,), num_negatives=2), SOURCES, 0, "s")
    assert {row["doc_id"]: row["weight"] for row in decisions.to_pylist()} == {"d1": 0.25, "d2": 0.5, "d3": 1.0, "p": 1.0}
    assert [(row["doc_id"], row["weight"]) for row in layout.to_pylist()] == [("p", 1.0), ("d1", 0.25), ("d2", 0.5)]


def test_draws_that_share_their_order_take_one_after_the_other():
    """As CL-DRD labels by position: the first, the second and the third survivor, then the next of the others."""
    draws = [Draw(name=f"place-{n}", take=1, survivor_min=n - 1, survivor_max=n, label=1 / n) for n in (1, 2, 4)]
    recipe = Recipe(draws=(*draws, Draw(name="rest", take=1)))
    assert drawn(recipe, ranked([0.9, 0.8, 0.7, 0.6])) == [("d1", "place-1"), ("d2", "place-2"), ("d3", "rest"), ("d4", "place-4")]


def test_no_negatives_are_rows_of_positives_alone():
    rows = ranked([0.9, 0.8], positives=("d1",))
    for recipe in (Recipe(num_negatives=0, draws=()), Recipe(num_negatives=0)):
        decisions, layout = select(table(rows), recipe, SOURCES, 0, "s")
        assert [(row["stage"], row["slot"], row["doc_id"]) for row in layout.to_pylist()] == [("main", 0, "d1")]
        assert {row["doc_id"]: (row["decision"], row["reason"]) for row in decisions.to_pylist()} == {
            "d1": ("positive", "labelled_positive"),
            "d2": ("not_drawn", "quota_full"),
        }


def test_a_query_without_positives_is_decided_though_each_positive_is_judged_apart():
    rule = {"kind": "absolute_margin", "margin": 0.1, "positive": "own", "on_null": "reject"}
    decisions, _ = select(table(ranked([0.9])), Recipe.model_validate({"rules": [rule]}), SOURCES, 0, "s")
    assert [(row["doc_id"], row["positive_id"], row["reason"]) for row in decisions.to_pylist()] == [("d1", None, "no_positive_score")]


def test_clustered_rows_come_in_batches_of_one_cluster_and_remainders_last():
    """Cluster 0 has 5 queries, cluster 1 has 4; batches of 2: four whole ones, then the fifth of cluster 0."""
    rows = []
    for number in range(9):
        for doc, positive in (("n", False), ("p", True)):
            cluster = 0 if number < 5 else 1
            rows.append({"query_id": f"q{number}", "doc_id": doc, "is_positive": positive, "dense_score": 0.5, "query_cluster": cluster})
    recipe = Recipe(row_order=RowOrder(kind="clustered", batch_size=2), num_negatives=1)
    for seed in range(3):
        _, layout = select(table(rows), recipe, SOURCES, seed, "s")
        order = [(row["row_no"], int(row["query_id"][1])) for row in layout.to_pylist() if row["slot"] == 0]
        assert [number for number, _ in order] == list(range(9))
        clusters = [int(query >= 5) for _, query in order]
        assert [clusters[place] == clusters[place + 1] for place in (0, 2, 4, 6)] == [True] * 4
        assert sorted(clusters[:8]) == [0] * 4 + [1] * 4
        assert clusters[8] == 0
        assert len({query for _, query in order}) == 9


@settings(max_examples=25, deadline=None)
@given(
    scores=st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=12),
    positives=st.sets(st.integers(1, 12)),
    number=st.integers(1, 6),
    kind=st.sampled_from([Top(), Random(), Weighted(log_weight="-dense_score")]),
)
def test_every_candidate_is_decided_once_and_no_positive_is_drawn(scores, positives, number, kind):
    names = tuple(f"d{n}" for n in positives)
    decisions, layout = select(table(ranked(scores, names)), Recipe(draws=(Draw(order=kind),), num_negatives=number), SOURCES, 1, "s")
    decided = [row["doc_id"] for row in decisions.to_pylist()]
    assert sorted(decided) == sorted(f"d{n}" for n in range(1, len(scores) + 1))
    negatives = [row["doc_id"] for row in decisions.to_pylist() if row["decision"] == "negative"]
    labelled = [name for name in names if name in decided]
    assert not set(negatives) & set(labelled)
    assert len(negatives) == min(number, len(scores) - len(labelled))
    assert layout.num_rows == len(labelled) * (1 + len(negatives))
