"""Recipes of several draws, stages and clusters, each on a table that can be checked on paper."""

import pytest

from tasks.errors import UsageError
from tests.select.tables import Chosen, many, positive, ranked


def by_draw(chosen):
    names = list(chosen.draws().values())
    return {name: names.count(name) for name in sorted(set(names))}


def kinds(each=4):
    """So many documents that only dense, only BM25 and only dense with the positive's parent gave."""
    rows = [positive(0.75)]
    for number in range(1, each + 1):
        rows += [
            {"doc_id": f"o{number}", "dense_rank": number, "dense_score": 0.7, "in_positive_group": False},
            {"doc_id": f"b{number}", "bm25_rank": number, "bm25_score": 9.0, "dense_score": 0.2},
            {"doc_id": f"c{number}", "bm25_rank": 100 + number, "dense_rank": 50 + number, "dense_score": 0.5, "in_positive_group": True},
        ]
    return rows


def test_improved_contrast_shares_the_row_out():
    """Five by weights 1 : 1 : 1 are 2, 2 and 1. Dense ranks o and c, BM25 b; the parent is c's."""
    chosen = Chosen({"name": "improved-contrast", "depth": 60}, kinds(), number=5)
    assert by_draw(chosen) == {"bm25": 2, "context": 1, "own": 2}
    taken = chosen.draws()
    assert all(doc.startswith("b") for doc, draw in taken.items() if draw == "bm25")
    assert all(doc.startswith("c") for doc, draw in taken.items() if draw == "context")
    assert all(doc[0] in "oc" for doc, draw in taken.items() if draw == "own")


def test_improved_contrast_fills_what_a_kind_cannot_give():
    """No context within rank 10: its one negative is filled from o and b."""
    chosen = Chosen({"name": "improved-contrast", "depth": 10}, kinds(), number=5)
    assert by_draw(chosen) == {"backfill": 1, "bm25": 2, "own": 2}
    assert set(chosen.why().values()) == {"not_retrieved"}


def test_improved_contrast_takes_the_coarse_models_best():
    rows = [*ranked([0.9, 0.8, 0.7], fixed_score=[0.1, 0.3, 0.2]), positive(0.75)]
    only = {"own": 0, "bm25": 0, "context": 0, "coarse": 1}
    assert set(Chosen({"name": "improved-contrast", **only}, rows).negatives()) == {"d2", "d3"}
    with pytest.raises(UsageError, match="set a weight over 0"):
        Chosen({"name": "improved-contrast", **only, "coarse": 0}, rows)


def test_quotas():
    """Five with 0.4 medium: three of ranks 1 … 3, two of 4 … 5. d6 is too deep."""
    settings = {"name": "quotas", "hard_depth": 3, "depth": 5}
    rows = [*ranked([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]), positive(0.75)]
    chosen = Chosen(settings, rows, number=5)
    assert chosen.draws() == {"d1": "hard", "d2": "hard", "d3": "hard", "d4": "medium", "d5": "medium"}
    assert chosen.why() == {"d6": "rank_range"}
    labelled = Chosen({**settings, "depth": 6}, ranked([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], positives=("d1",)), number=5)
    assert by_draw(labelled) == {"backfill": 1, "hard": 2, "medium": 2}  # the hard band is one short
    with pytest.raises(UsageError, match="must hold"):
        Chosen({"name": "quotas", "hard_depth": 300}, rows)


def test_curriculum_by_rank():
    """Ranks 5, 6 are easy, 3, 4 medium, 1, 2 hard: each stage has rows of its own."""
    settings = {"name": "curriculum", "hard_depth": 2, "medium_depth": 4, "depth": 6}
    chosen = Chosen(settings, [*ranked([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]), positive(0.75)])
    assert chosen.recipe.stages == ["easy", "medium", "hard"]
    stages = {"easy": ["d5", "d6"], "medium": ["d3", "d4"], "hard": ["d1", "d2"]}
    for stage, expected in stages.items():
        assert chosen.negatives(stage) == expected
        assert [row["doc_id"] for row in chosen.rows if row["stage"] == stage] == ["p", *expected]


def test_curriculum_by_the_teacher():
    """Under 0.01, 0.1 and 0.5; d4 at 0.5 is in no stage."""
    chosen = Chosen(
        {"name": "curriculum", "by": "teacher"}, [*ranked([0.9, 0.8, 0.7, 0.6], teacher_sigmoid=[0.005, 0.01, 0.1, 0.5]), positive(0.75)]
    )
    assert [chosen.negatives(stage) for stage in ("easy", "medium", "hard")] == [["d1"], ["d2"], ["d3"]]
    assert chosen.why() == {"d4": "teacher_ceiling"}


def test_cl_drd():
    """The teacher's order is d3, d2, d1; d4 was not scored.

    Stage 1: one pseudo-relevant (1/1), the second most hard, the third semi-hard; stage 2: two (1/1, 1/2) and one hard; stage 3: three.
    """
    rows = [*ranked([0.9, 0.8, 0.7, 0.6], teacher_logit=[1.0, 2.0, 3.0, None]), positive(0.75)]
    settings = {"name": "cl-drd", "relevant": [1, 2, 3], "hard": [1, 1, 0], "semi_hard": [1, 0, 0], "hard_depth": 2}
    chosen = Chosen(settings, rows)
    lists = {
        stage: [(row["doc_id"], pytest.approx(row["label"])) for row in chosen.rows if row["stage"] == stage]
        for stage in chosen.recipe.stages
    }
    assert lists == {
        "stage-1": [("p", 1.0), ("d3", 1.0), ("d2", -0.25), ("d1", -0.5)],
        "stage-2": [("p", 1.0), ("d3", 1.0), ("d2", 0.5), ("d1", -0.25)],
        "stage-3": [("p", 1.0), ("d3", 1.0), ("d2", 0.5), ("d1", 1 / 3)],
    }
    assert chosen.why() == {"d4": "unscored"}


def test_cl_drd_draws_the_authors_lists():
    """Lists of 30 with 5, 10 and 30 labels over 0; the most hard from the teacher's first 50 of 200, the semi-hard from the rest."""
    logits = [float(-number) for number in range(200)]
    chosen = Chosen("cl-drd", [*ranked([0.9 - number / 1000 for number in range(200)], teacher_logit=logits), positive(0.75)])
    for stage, counts in (("stage-1", (5, 12, 13)), ("stage-2", (10, 10, 10)), ("stage-3", (30, 0, 0))):
        drawn = [row for row in chosen.decisions if row["stage"] == stage and row["decision"] == "negative"]
        assert (
            tuple(sum(pick(row["label"]) for row in drawn) for pick in (lambda x: x > 0, lambda x: x == -0.25, lambda x: x == -0.5))
            == counts
        )
        assert all((row["survivor_rank"] <= 50) == (row["label"] != -0.5) for row in drawn)
        assert all(row["label"] == pytest.approx(1 / row["survivor_rank"]) for row in drawn if row["label"] > 0)
    with pytest.raises(UsageError, match="leave num_negatives out"):
        Chosen({"name": "cl-drd", "num_negatives": 5}, [positive(0.5)])


SAME = [True, False, None, False]


def test_other_clusters():
    chosen = Chosen("other-clusters", [*ranked([0.9, 0.8, 0.7, 0.6], in_positive_cluster=SAME), positive(0.75)], documents=10_000)
    assert chosen.negatives() == ["d2", "d4"]
    assert chosen.why() == {"d1": "other_cluster", "d3": "no_cluster"}
    assert chosen.recipe.needs.features["clusters"] == {"documents": 100}  # the root of 10,000


def test_topic():
    chosen = Chosen({"name": "topic", "clusters": 7}, [*ranked([0.9, 0.8, 0.7, 0.6], in_positive_cluster=SAME), positive(0.75)])
    assert chosen.negatives() == ["d1"]
    assert set(chosen.why().values()) == {"other_topic"}
    assert chosen.recipe.needs.features["clusters"] == {"documents": 7}


def test_tas_balanced_draws_a_bin_then_a_pair():
    """Logits 10 | 0, 0.1, 0.2 in ten bins of width 1: the last bin holds one, the first three. So 1/2, and 1/6 each."""
    rows = [*ranked([0.9, 0.8, 0.7, 0.6], teacher_logit=[10.0, 0.0, 0.1, 0.2], query_cluster=[1] * 4), positive(0.75, query_cluster=1)]
    shares = Chosen("tas-balanced", many(rows, 3000), number=1).shares()
    sixth = pytest.approx(1 / 6, abs=0.025)
    assert shares == {"d1": pytest.approx(0.5, abs=0.03), "d2": sixth, "d3": sixth, "d4": sixth}


def test_tas_balanced_with_a_range_of_zero():
    """One bin; the candidate without a teacher score is never drawn."""
    rows = [*ranked([0.9, 0.8, 0.7], teacher_logit=[2.0, 2.0, None], query_cluster=[1] * 3), positive(0.75, query_cluster=1)]
    assert Chosen("tas-balanced", rows, number=3).negatives() == ["d1", "d2"]


def test_tas_balanced_writes_batches_of_one_topic():
    """Two topics of four queries each, batches of two rows: each batch is of one topic. k is queries // (8 · batch_size), 2000 at most."""
    rows = [
        {**row, "query_cluster": number % 2}
        for number in range(8)
        for row in [*ranked([0.9], query=f"q{number}"), positive(0.7, f"q{number}")]
    ]
    chosen = Chosen({"name": "tas-balanced", "batch_size": 2}, [{**row, "teacher_logit": 0.0} for row in rows], queries=8)
    order = [int(row["query_id"][1:]) % 2 for row in chosen.rows if row["slot"] == 0]
    assert [order[at] for at in (0, 2, 4, 6)] == [order[at] for at in (1, 3, 5, 7)]
    assert chosen.recipe.needs.features["clusters"] == {"queries": 1}
    assert Chosen("tas-balanced", rows, queries=51_200).recipe.needs.features["clusters"] == {"queries": 200}
    assert Chosen("tas-balanced", rows, queries=4_000_000).recipe.needs.features["clusters"] == {"queries": 2000}
